"""Damaged bytes are noticed: an error or right values, and never the end of the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import must
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks
from dcp_conformance.suites.durability.damage.damages import census

if TYPE_CHECKING:
    from dcp_conformance.suites.durability.damage import on_ranks_damage as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.durability.damage.on_ranks_damage")

if TYPE_CHECKING:
    from dcp_conformance.suites.durability.damage import on_ranks_damaged_pieces as on_pieces
else:
    on_pieces = module_on_ranks("dcp_conformance.suites.durability.damage.on_ranks_damaged_pieces")


@pytest.mark.below_storage
@pytest.mark.clauses("CORR-01", "CORR-06")
@pytest.mark.parametrize("state", ("both", "objects", "tensors"))
def test_missing_object_fails_the_load(subject: Subject, state: str) -> None:
    found = census(subject, on_ranks.census, ("delete", state))
    with subject.promise("CORR-01"):
        found.noticed("checkpoints that lack an object")
    with subject.promise("CORR-06"):
        found.survived()


@pytest.mark.below_storage
@pytest.mark.clauses("CORR-02", "CORR-06", "RMD-09")
@pytest.mark.parametrize("state", ("both", "objects", "tensors"))
def test_object_cut_short_fails_the_load(subject: Subject, state: str) -> None:
    found = census(subject, on_ranks.census, ("truncate", state))
    with subject.promise("CORR-02"):
        found.noticed("checkpoints with an object cut short")
    with subject.promise("RMD-09"):
        found.untouched()
    with subject.promise("CORR-06"):
        found.survived()


@pytest.mark.below_storage
@pytest.mark.clauses("CORR-03", "CORR-06")
@pytest.mark.parametrize("kind", ("flip", "zero", "append", "exchange", "length"))
def test_changed_bytes_are_noticed(subject: Subject, kind: str) -> None:
    found = census(subject, on_ranks.census, (kind,))
    with subject.promise("CORR-03"):
        found.noticed("damaged checkpoints")
    with subject.promise("CORR-06"):
        found.survived()


@pytest.mark.below_storage
@pytest.mark.clauses("CORR-03")
def test_changed_byte_of_the_piece_that_is_read_is_noticed(subject: Subject) -> None:
    subject.needs("resharding")  # what is read is less than what was saved
    observed = subject.alone(on_pieces.piece_of_damaged)
    must(not observed["sound"], otherwise=f"with all bytes put back, {observed['sound'][:1]}", kind="values")
    for row in observed["rows"]:
        must(
            not row["wrong"], otherwise=f"with {row['damage']} the read returned, and {row['wrong'][:1]}",
            kind="silent corruption",
        )  # fmt: skip


@pytest.mark.below_storage
@pytest.mark.clauses("CORR-04", "CORR-06")
def test_exchanged_objects_of_equal_size_are_noticed(subject: Subject) -> None:
    found = census(subject, on_ranks.census, ("swap",))
    with subject.promise("CORR-04"):
        found.noticed("checkpoints with two objects exchanged")
    with subject.promise("CORR-06"):
        found.survived()


@pytest.mark.below_storage
@pytest.mark.clauses("CORR-05", "CORR-06")
def test_flipped_bit_in_the_metadata_does_no_harm(subject: Subject) -> None:
    found = census(subject, on_ranks.census, ("metadata",))
    with subject.promise("CORR-05"):
        found.noticed("damaged checkpoints", lambda row: row["metadata"])
    with subject.promise("CORR-06"):
        found.survived()


@pytest.mark.below_storage
@pytest.mark.clauses("CORR-09", "CORR-06")
def test_object_of_another_save_is_not_accepted(subject: Subject) -> None:
    found = census(subject, on_ranks.census, ("stale",))
    with subject.promise("CORR-09"):
        found.noticed("checkpoints with an object of another save", lambda row: row["part"] != "metadata")
    with subject.promise("CORR-06"):
        found.survived()


@pytest.mark.below_storage
@pytest.mark.clauses("CORR-05", "CORR-06", "CORR-09")
def test_object_of_the_save_before_is_not_accepted(subject: Subject) -> None:
    found = census(subject, on_ranks.census, ("older",))
    with subject.promise("CORR-09"):
        found.noticed("checkpoints with an object of the save before", lambda row: row["part"] != "metadata")
    with subject.promise("CORR-05"):
        found.noticed("checkpoints with the metadata of the save before", lambda row: row["part"] == "metadata")
    with subject.promise("CORR-06"):
        found.survived()
