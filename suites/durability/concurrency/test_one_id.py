"""Two things that happen to one id at the same time: one whole state, or an error, and never a mixture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dcp_conformance.harness.laws.verbs import (
    Broken,
    NotApplicable,
    Untestable,
    described,
    must_match,
    must_return,
    must_succeed,
    of_subject,
    unexpected,
)
from dcp_conformance.harness.laws.versions import must_not_mix
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.durability.concurrency import on_ranks_one_id as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.durability.concurrency.on_ranks_one_id")

if TYPE_CHECKING:
    from dcp_conformance.suites.durability.concurrency import on_ranks_during_load as during_load
else:
    during_load = module_on_ranks("dcp_conformance.suites.durability.concurrency.on_ranks_during_load")

if TYPE_CHECKING:
    from dcp_conformance.suites.durability.concurrency import on_ranks_concurrency as in_threads
else:
    in_threads = module_on_ranks("dcp_conformance.suites.durability.concurrency.on_ranks_concurrency")

ROUNDS = 12


@pytest.mark.clauses("CONC-01")
@pytest.mark.parametrize("stop", ("write_data", "item 2", "finish"), ids=("at_start", "between_items", "before_commit"))
def test_load_in_the_middle_of_an_overwrite_gives_one_whole_state(subject: Subject, stop: str) -> None:
    found = subject.alone(on_ranks.load_in_the_middle, stop)
    if not found["reached"]:
        raise Untestable(f"the save was never seen to come to {stop}")
    must_not_mix({"attempt": found["load"], "unlike": found["unlike"]})


@pytest.mark.clauses("CONC-01")
@pytest.mark.parametrize("fails", (False, True), ids=("committed", "failed"))
@pytest.mark.parametrize("stop", ("read_data", "target 2"), ids=("before_reading", "between_targets"))
def test_load_during_which_an_overwrite_ends_gives_one_whole_state(subject: Subject, stop: str, fails: bool) -> None:
    found = subject.alone(during_load.overwrite_in_the_middle, stop, fails)
    if not found["reached"]:
        raise Untestable(f"the load was never seen to come to {stop}")
    must_not_mix({"attempt": found["load"], "unlike": found["unlike"]})


@pytest.mark.clauses("CONC-02")
def test_two_saves_to_one_id_at_once_leave_one_whole_state(subject: Subject) -> None:
    for number in range(ROUNDS):
        found = subject.alone(in_threads.save_twice_at_once, number)
        must_not_mix({"attempt": found["load"], "unlike": found["unlike"]})
        one_won(found, number)


@pytest.mark.below_storage  # two processes that know nothing of each other: no engine could notice for the storage
@pytest.mark.clauses("CONC-03")
def test_unrelated_saves_to_one_id_are_noticed(subject: Subject) -> None:
    outcomes = subject.run(2, on_ranks.save_alone_on_two_ranks)
    attempts = must_return(outcomes)
    for rank, attempt in enumerate(attempts):
        if attempt.error is not None and not of_subject(attempt.error):
            raise unexpected(attempt.error, rank)
    if all(attempt.ok for attempt in attempts):
        if not all(any(event.kind == "turn" for event in outcome.events) for outcome in outcomes):
            raise Untestable("the two saves were never seen to commit, each after the other had written")
        raise Broken(
            "rank 0 and rank 1 saved to one id by themselves at the same time, and both saves returned as if they had "
            "been alone",
            kind="not noticed", rank=1,
        )  # fmt: skip


@pytest.mark.clauses("CONC-09")
def test_commit_does_not_need_to_see_objects_of_other_ranks(subject: Subject) -> None:
    observed = subject.observe(2, on_ranks.save_with_others_unseen)
    if not observed[0]["hidden"]:
        raise NotApplicable("what a rank stores is no object of its own that could be seen late")
    for rank, answer in enumerate(observed):
        must_succeed(answer["attempt"], "a save whose commit could not see the objects of rank 1 yet", rank=rank)
    what = "what was saved while the commit could not see the objects of rank 1 yet"
    must_match(subject.observe(1, on_ranks.load_unseen), what)


def one_won(found: dict[str, Any], number: int) -> None:
    """Broken if a save returned, and the id does not load."""
    attempt = found["load"]
    if attempt.error is not None and any(save.ok for save in found["saves"]):
        raise Broken(
            f"after two saves at once (round {number + 1} of {ROUNDS}), of which "
            f"{sum(save.ok for save in found['saves'])} returned, the id does not load: {described(attempt.error)}",
            kind="lost", rank=0, evidence={"traceback": attempt.error.traceback},
        )  # fmt: skip
