"""Failures outside the guarded steps reach everybody too; ranks that save alone keep theirs to themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.laws.shared_failures import failures_of
from dcp_conformance.harness.laws.verbs import Broken, described, must_refuse, must_return, needs_reached
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.failure import on_ranks_outside_steps as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.failure.on_ranks_outside_steps")

# Torch hangs in most of these.
LIMIT = 6.0
# The contract's own limit for ranks that save without collectives.
INDEPENDENT_LIMIT = 10.0


@pytest.mark.clauses("FAIL-11", "FAIL-10")
@pytest.mark.parametrize("what", ("state_dict", "reset", "no_id"))
def test_failure_before_the_first_exchange_of_a_save_reaches_all(subject: Subject, what: str) -> None:
    outcomes = subject.run(2, on_ranks.save_outside, what, timeout=LIMIT)
    attempts = must_return(outcomes)
    needs_reached(outcomes, what, (1,))
    with subject.promise("FAIL-11"):
        for rank, attempt in enumerate(attempts):
            must_refuse(attempt, f"a save in which {what} failed on rank 1", rank=rank)


@pytest.mark.clauses("FAIL-11", "FAIL-10")
@pytest.mark.parametrize("what", ("state_dict", "reset", "load_state_dict"))
def test_failure_at_either_end_of_a_load_reaches_all(subject: Subject, what: str) -> None:
    outcomes = subject.run(2, on_ranks.load_outside, what, timeout=LIMIT)
    attempts = must_return(outcomes)
    needs_reached(outcomes, what, (1,))
    with subject.promise("FAIL-11"):
        for rank, attempt in enumerate(attempts):
            must_refuse(attempt, f"a load in which {what} failed on rank 1", rank=rank)


@pytest.mark.clauses("FAIL-12", "FAIL-10", "PG-10")
@pytest.mark.worlds(2)
def test_ranks_that_save_alone_fail_alone(subject: Subject, world: int) -> None:
    fault = Fault(phase="write_data", ranks=(1,))
    outcomes = subject.run(world, on_ranks.independent_save_with_fault, fault, timeout=INDEPENDENT_LIMIT)
    attempts = must_return(outcomes)
    needs_reached(outcomes, "write_data", (1,))
    with subject.promise("FAIL-12"):
        error = attempts[1].error
        must_refuse(attempts[1], "a save whose write_data failed on this rank", rank=1)
        own = error.is_a("ValueError") or [e.is_a("ValueError") for e in failures_of(attempts[1]).values()] == [True]
        if not own:
            raise Broken(
                f"it raised {described(error)}; write_data raised a ValueError", kind="other exception", rank=1
            )
