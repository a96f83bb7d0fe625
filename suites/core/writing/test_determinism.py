"""What may not matter for a load: who wrote, where it lies, what the clock says. Random generators stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import must, must_match
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.core.writing import on_ranks_determinism as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.writing.on_ranks_determinism")

NOTHING_STORED = "nothing is stored below the id, so it cannot be copied"


@pytest.mark.clauses("DET-02")
@pytest.mark.worlds(2)
def test_load_depends_on_no_writer_order_or_date(subject: Subject, world: int) -> None:
    subject.observe(world, on_ranks.save_own)
    loading = world if subject.lacks("resharding") else 1
    found = subject.observe(loading, on_ranks.load_copy_in_disorder, world)
    must_match(found, "a copy in another order with other dates")
    must_match(subject.observe(world, on_ranks.load_of_others), "what another rank saved")


@pytest.mark.clauses("DET-03")
@pytest.mark.parametrize("how", ("moved", "copied", "copied_and_spoilt"))
def test_checkpoint_loads_from_its_new_place(subject: Subject, how: str) -> None:
    observed = subject.observe(1, on_ranks.load_elsewhere, how)
    must_match(observed, f"a checkpoint that was {how}")


@pytest.mark.clauses("DET-04")
@pytest.mark.parametrize("call", ("save", "load", "async_save"))
def test_random_generators_are_left_alone(subject: Subject, call: str) -> None:
    changed = subject.alone(on_ranks.generators_changed, call)
    must(not changed, otherwise=f"{call} changed the state of the generator of {', '.join(changed)}", kind="generator")


@pytest.mark.clauses("DET-05")
def test_second_state_loads_although_the_first_is_dated_later(subject: Subject) -> None:
    must_match(subject.observe(1, on_ranks.dated_ahead), "what an overwrite of objects with later dates left")
