"""A rank that dies or stands still takes no other rank's time beyond the timeout of the group, and costs no data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from dcp_conformance.harness.cluster import Died, Hung, Outcome, Returned
from dcp_conformance.harness.laws.observations import Attempt
from dcp_conformance.harness.laws.shared_failures import failures_of
from dcp_conformance.harness.laws.verbs import (
    Broken,
    NotApplicable,
    Untestable,
    described,
    mentions,
    must_refuse,
    must_return,
    needs_reached,
)
from dcp_conformance.harness.laws.versions import must_not_mix, must_still_load
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.failure import on_ranks_lost_ranks as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.failure.on_ranks_lost_ranks")

OLD, NEW = 1, 2
LIMIT = 18.0
# Ranks in a set, the one that is lost, the phase, after its call. Only a coordinator runs the global steps.
SAVE = [
    (2, 1, "set_up", False), (2, 0, "prepare_local_plan", False), (2, 0, "prepare_global_plan", False),
    (2, 1, "write_data", False), (3, 1, "write_data", False), (2, 0, "write_data", True), (2, 0, "finish", False),
    (2, 0, "finish", True),
]  # fmt: skip
LOAD = [
    (2, 1, "read_metadata", False), (2, 0, "set_up", False), (2, 1, "prepare_local_plan", False),
    (2, 0, "prepare_global_plan", False), (2, 0, "read_data", False), (3, 1, "read_data", False),
    (2, 1, "read_data", True),
]  # fmt: skip
Losses = Sequence[tuple[int, int, str, bool]]


@pytest.mark.clauses("FAIL-14", "FAIL-20", "DUR-02", "DUR-12")
@pytest.mark.parametrize("call", ("save", "async_save"))
def test_death_of_a_rank_ends_the_save_of_the_others(subject: Subject, call: str) -> None:
    outcomes = lose(subject, call, "kill", SAVE)
    others_are_told(subject, "FAIL-14", outcomes, SAVE, call, "kill")
    nothing_was_committed_without_it(subject, outcomes)


@pytest.mark.clauses("FAIL-10", "FAIL-20", "DUR-02", "DUR-12")
@pytest.mark.parametrize("call", ("save", "async_save"))
def test_rank_that_stands_still_ends_the_save_of_the_others(subject: Subject, call: str) -> None:
    outcomes = lose(subject, call, "stop", SAVE)
    others_are_told(subject, "FAIL-10", outcomes, SAVE, call, "stop")
    nothing_was_committed_without_it(subject, outcomes)


@pytest.mark.clauses("FAIL-14", "FAIL-20")
def test_death_of_a_rank_ends_the_load_of_the_others(subject: Subject) -> None:
    others_are_told(subject, "FAIL-14", lose(subject, "load", "kill", LOAD), LOAD, "load", "kill")


@pytest.mark.clauses("FAIL-10", "FAIL-20")
def test_rank_that_stands_still_ends_the_load_of_the_others(subject: Subject) -> None:
    others_are_told(subject, "FAIL-10", lose(subject, "load", "stop", LOAD), LOAD, "load", "stop")


@pytest.mark.clauses("FAIL-10", "FAIL-20", "DUR-04", "DUR-05")
@pytest.mark.parametrize("how", ("stop", "wake"))
def test_rank_that_stands_still_in_an_overwrite_costs_no_checkpoint(subject: Subject, how: str) -> None:
    outcomes = lose(subject, "overwrite", how, SAVE)
    others_are_told(subject, "FAIL-10", outcomes, SAVE, "overwrite", how)
    subject.needs("resharding")  # one process loads what each set saved
    found = subject.alone(on_ranks.what_loads, SAVE, (OLD, NEW))
    for law, clause in ((must_still_load, "DUR-04"), (must_not_mix, "DUR-05")):
        with subject.promise(clause):
            for each, loss in zip(found, SAVE, strict=True):
                told(loss, how, law, each)


def lose(subject: Subject, call: str, how: str, losses: Losses) -> list[Outcome]:
    """The outcomes of a call in which each set of ranks loses one; Untestable unless all were lost as they should."""
    ranks_in_all = sum(size for size, *_ in losses)
    outcomes = subject.run(ranks_in_all, on_ranks.call_with_losses, call, how, list(losses), timeout=LIMIT)
    for outcome in outcomes:
        if isinstance(outcome, Returned) and isinstance(outcome.value, str):
            raise NotApplicable(outcome.value)
    for (_, victim, phase, _), ranks in zip(losses, sets(losses), strict=True):
        needs_reached(outcomes, phase, (ranks[victim],))
        lost = outcomes[ranks[victim]]
        if how == "kill" and not isinstance(lost, Died) or how == "stop" and not isinstance(lost, Hung):
            raise Untestable(f"a rank was not lost in {phase} as it should have been")
    fate = "killed" if how == "kill" else "stopped"
    rows = [
        (call, fate, *row)
        for loss, ranks in zip(losses, sets(losses), strict=True)
        for row in told_of(outcomes, loss, ranks)
    ]
    subject.table("What ranks are told when one is lost", ("call", "the lost rank", "the others", "who is named"), rows)
    return outcomes


def others_are_told(
    subject: Subject, clause: str, outcomes: Sequence[Outcome], losses: Losses, call: str, how: str
) -> None:
    """The others end with an error in time (`clause`), and it says whom they lost (FAIL-20)."""
    with subject.promise(clause):
        others_ended_with_error(outcomes, losses, call, how)
    with subject.promise("FAIL-20"):
        lost_rank_is_named(outcomes, losses, how)


def others_ended_with_error(outcomes: Sequence[Outcome], losses: Losses, call: str, how: str) -> None:
    """Broken unless every rank that was not lost raised in time; one that was woken again must end too."""
    for loss, ranks in zip(losses, sets(losses), strict=True):
        survivors = [outcomes[rank] for place, rank in enumerate(ranks) if place != loss[1]]
        for survivor, attempt in zip(survivors, told(loss, how, must_return, survivors), strict=True):
            must_refuse(attempt, f"a {call} in which {happened(loss, how)}", rank=ranks.index(survivor.rank))
        if how == "wake":
            told(loss, how, must_return, [outcomes[ranks[loss[1]]]])


def lost_rank_is_named(outcomes: Sequence[Outcome], losses: Losses, how: str) -> None:
    """Broken where the error of a rank does not name the rank that its set lost; Untestable where none raised."""
    raised = 0
    for loss, ranks in zip(losses, sets(losses), strict=True):
        for place, attempt in attempts_of_others(outcomes, loss, ranks):
            if attempt is not None and attempt.error is not None:
                raised += 1
                if not names(attempt, loss[1], ranks[loss[1]]):
                    observed = f"where {happened(loss, how)}, the error does not name it: {described(attempt.error)}"
                    raise Broken(observed, kind="lost rank not named", rank=place)
    if not raised:
        raise Untestable("no rank raised an error that could name the lost one")


def nothing_was_committed_without_it(subject: Subject, outcomes: Sequence[Outcome]) -> None:
    """No load gives a part of what a set with a lost rank saved, nor anything where it was lost before the commit."""
    subject.needs("resharding")  # one process loads what each set saved; without it that fails in any case
    found = subject.alone(on_ranks.what_loads, SAVE, (NEW,))
    with subject.promise("DUR-02"):
        for each in found:
            must_not_mix(each)
    with subject.promise("DUR-12"):
        for (size, victim, phase, after), each in zip(SAVE, found, strict=True):
            if not (phase == "finish" and after):
                where = f"{'after' if after else 'before'} {phase} on rank {victim} of {size}"
                must_refuse(each["attempt"], f"a load of the id whose save lost a rank {where}", rank=0)


def told_of(outcomes: Sequence[Outcome], loss: tuple[int, int, str, bool], ranks: list[int]) -> list[tuple[str, str]]:
    """What each other rank of a set was told: how its call ended, and whether that names the lost rank."""
    rows = []
    for _, attempt in attempts_of_others(outcomes, loss, ranks):
        if attempt is None or attempt.error is None:
            rows.append(("nothing: the call returned" if attempt else "nothing: the rank gave no answer", ""))
            continue
        named = names(attempt, loss[1], ranks[loss[1]])
        rows.append((attempt.error.type_name.rpartition(".")[2], "the lost rank" if named else "not the lost rank"))
    return rows


def attempts_of_others(
    outcomes: Sequence[Outcome], loss: tuple[int, int, str, bool], ranks: list[int]
) -> list[tuple[int, Attempt | None]]:
    """The rank in its set of each rank that was not lost, and how its call ended; None where it gave no answer."""
    others = [(place, outcomes[rank]) for place, rank in enumerate(ranks) if place != loss[1]]
    return [(place, outcome.value if isinstance(outcome, Returned) else None) for place, outcome in others]


def names(attempt: Attempt, rank: int, global_rank: int) -> bool:
    """Whether what a rank was told names another one, by its rank in the group or by its global rank."""
    assert attempt.error is not None
    either = (rank, global_rank)
    return any(each in failures_of(attempt) or mentions(attempt.error, f"rank {each}") for each in either)


def told(loss: tuple[int, int, str, bool], how: str, law: Callable[[Any], Any], found: Any) -> Any:
    """What a law says of one set; a finding begins with what happened to the set."""
    try:
        return law(found)
    except Broken as broken:
        observed = f"where {happened(loss, how)}, {broken.observed}"
        raise Broken(observed, kind=broken.kind, rank=broken.rank, evidence=broken.evidence) from None


def happened(loss: tuple[int, int, str, bool], how: str) -> str:
    """A loss in words."""
    size, victim, phase, after = loss
    fate = {"kill": "was killed", "stop": "stood still", "wake": "stood still until the others had ended"}[how]
    return f"rank {victim} of {size} {fate} {'after' if after else 'before'} {phase}"


def sets(losses: Losses) -> list[list[int]]:
    """The global ranks of each set."""
    starts = [sum(size for size, *_ in losses[:number]) for number in range(len(losses))]
    return [list(range(start, start + size)) for start, (size, *_) in zip(starts, losses, strict=True)]
