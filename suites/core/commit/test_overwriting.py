"""What is saved to an id a second time stands there alone, or is refused and changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.shared_failures import must_fail_everywhere
from dcp_conformance.harness.laws.verbs import must, must_match, must_refuse
from dcp_conformance.harness.subject.spec import STYLES
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.core.commit import on_ranks_overwriting as on_ranks
    from dcp_conformance.suites.core.commit.on_ranks_overwriting import Held
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.commit.on_ranks_overwriting")

if TYPE_CHECKING:
    from dcp_conformance.suites.core.writing import on_ranks_writing_alike as alike
else:
    alike = module_on_ranks("dcp_conformance.suites.core.writing.on_ranks_writing_alike")

LENGTH = 64 * 1024  # 512 KiB of float64
SLACK = 64 * 1024


@pytest.mark.clauses("FIN-03")
@pytest.mark.worlds(1, 2)
def test_save_after_a_failed_one_holds_exactly_its_own_state(subject: Subject, world: int) -> None:
    must_hold_exactly(subject.observe(world, on_ranks.second_id_after_failed_save, world))


@pytest.mark.clauses("FIN-06")
@pytest.mark.worlds(1, 2)
@pytest.mark.parametrize("reuse", (False, True), ids=("new_writer", "same_writer"))
@pytest.mark.parametrize("style", STYLES)
def test_second_save_to_an_id_leaves_exactly_the_second_state(
    subject: Subject, world: int, style: str, reuse: bool
) -> None:
    must_hold_exactly(subject.observe(world, on_ranks.overwritten, style, reuse))


@pytest.mark.clauses("FIN-06")
def test_overwrite_that_changes_one_place_is_stored(subject: Subject) -> None:
    must_match(subject.observe(1, alike.overwritten_in_one_place))


def must_hold_exactly(observed: Sequence[Held]) -> None:
    """Broken unless each rank finds the keys and the values that were saved last, and no others."""
    for rank, held in enumerate(observed):
        must(
            held.keys == held.wanted,
            otherwise=f"the metadata lists {held.keys}; {held.wanted} were saved last",
            kind="keys",
            rank=rank,
        )
    must_match([held.found for held in observed])


@pytest.mark.clauses("FIN-07")
@pytest.mark.worlds(1, 2)
def test_refused_overwrite_says_so_and_keeps_the_old_checkpoint(subject: Subject, world: int) -> None:
    observed = subject.observe(world, on_ranks.refused_overwrite)
    must_fail_everywhere([seen.save for seen in observed])
    for rank, seen in enumerate(observed):
        error = must_refuse(seen.save, "a save where a checkpoint is", rank=rank)
        text = " ".join(item.text for item in (error.failures or {0: error}).values())
        clear = "exist" in text.lower() or seen.checkpoint_id in text
        must(clear, otherwise=f"the refusal names neither the id nor that it exists: {text.strip()[-200:]}", rank=rank)
        must(
            not seen.changed,
            otherwise=f"the refused save changed the checkpoint: {seen.changed}",
            kind="changed",
            rank=rank,
        )
        must_match([seen.old, seen.new])


@pytest.mark.clauses("FIN-08")
def test_overwrite_leaves_no_data_of_the_earlier_checkpoint(subject: Subject) -> None:
    subject.observe(1, on_ranks.save_sized, "fresh", 1, LENGTH)
    fresh = subject.alone(on_ranks.stored_size, "fresh", 0)
    subject.observe(2, on_ranks.save_sized, "again", 1, LENGTH)
    for version in range(2, 7):
        subject.observe(1, on_ranks.save_sized, "again", version, LENGTH)
    limit = fresh * 3 // 2 + SLACK
    size = subject.alone(on_ranks.stored_size, "again", limit)
    must(
        size <= limit,
        otherwise=f"{size} bytes are stored after six saves to one id, and {fresh} after one to a new id",
        kind="space",
    )
