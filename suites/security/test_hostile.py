"""A checkpoint is data: it runs no code, and leads nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import (
    Broken,
    NotApplicable,
    Untestable,
    must,
    must_refuse,
    must_return,
    needs_reached,
)
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.security import on_ranks_hostile as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.security.on_ranks_hostile")


@pytest.mark.below_storage
@pytest.mark.clauses("SEC-01")
def test_metadata_runs_no_code(subject: Subject) -> None:
    observed = subject.alone(on_ranks.metadata_that_runs_code)
    if not observed["tried"]:
        raise Untestable("no stored object was found that read_metadata needs")
    ran = observed["ran"]
    must(
        not ran,
        otherwise=f"in {len(ran)} of {observed['tried']} hostile loads code ran; {ran[:1]}",
        kind="code ran",
        rank=0,
    )


@pytest.mark.below_storage
@pytest.mark.clauses("SEC-02")
def test_objects_run_no_code_or_can_be_told_not_to(subject: Subject) -> None:
    outcomes = subject.run(1, on_ranks.objects_that_run_code)
    [ran] = must_return(outcomes)
    needs_reached(outcomes, "load_bytes", (0,))
    if all(ran.values()):
        ways = " or with ".join(ran)
        raise Broken(f"load_bytes ran the code of a hostile object, with {ways}", kind="code ran", rank=0)


@pytest.mark.below_storage
@pytest.mark.clauses("SEC-03")
@pytest.mark.parametrize("how", ("relative", "sibling", "absolute", "link"))
def test_paths_in_the_metadata_stay_inside(subject: Subject, how: str) -> None:
    observed = subject.alone(on_ranks.paths_out_of_the_checkpoint, how)
    must_refuse(observed["attempt"], f"a load whose metadata leads out of the checkpoint ({how})", rank=0)


@pytest.mark.below_storage
@pytest.mark.clauses("SEC-04")
def test_stored_objects_run_no_code(subject: Subject) -> None:
    observed = subject.alone(on_ranks.stored_objects_that_run_code)
    if not observed["tried"]:
        raise NotApplicable("all that it stores is needed to read the metadata, which another clause is about")
    ran = observed["ran"]
    must(
        not ran,
        otherwise=f"in {len(ran)} of {observed['tried']} hostile loads code ran: {ran[:1]}",
        kind="code ran",
        rank=0,
    )


@pytest.mark.below_storage
@pytest.mark.clauses("SEC-04")
def test_tensor_data_runs_no_code(subject: Subject) -> None:
    subject.needs("torch_format")
    observed = subject.alone(on_ranks.tensor_entry_that_runs_code)
    for row in observed["rows"]:
        what = f"a tensor entry that is a hostile object ({row['form']}, {row['how']})"
        must(not row["ran"], otherwise=f"loading {what} ran its code", kind="code ran", rank=0)
        must_refuse(row["attempt"], f"a load of {what}", rank=0)
