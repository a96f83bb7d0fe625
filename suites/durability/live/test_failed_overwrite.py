"""Old, new, or an error: what loads after a save that was interrupted at one phase of the storage interface."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.cluster import Outcome, Raised, Returned
from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.laws.verbs import (
    NotApplicable,
    must_match,
    must_refuse,
    needs_reached,
    of_subject,
    unexpected,
)
from dcp_conformance.harness.laws.versions import must_be_new_if_returned, must_not_mix, must_still_load
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.durability.live import on_ranks_failed_overwrite as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.durability.live.on_ranks_failed_overwrite")

OLD, NEW = 1, 2
RANKS = 2
# (phase, after the real call, rank): each phase on each rank that has it.
POINTS = [
    (phase, after, rank)
    for phase, after in (
        ("set_up", False), ("prepare_local_plan", False), ("prepare_global_plan", True), ("write_data", False),
        ("resolve_data", False), ("write_data", True), ("finish", False), ("finish", True),
    )
    for rank in ((0,) if phase in ("prepare_global_plan", "finish") else (0, 1))
]  # fmt: skip
IDS = [f"{'after' if after else 'before'}_{phase}-rank{rank}" for phase, after, rank in POINTS]

# Where a save to a new id has stored something already: before that, there is nothing which could load.
LATE = [place for place, (phase, _, _) in enumerate(POINTS) if phase in ("write_data", "resolve_data", "finish")]
# Where it has written something, which may be what the old checkpoint has too, and the commit is still to come.
SHARED_AT = ("before_resolve_data-rank1", "after_write_data-rank1", "before_finish-rank0")
SHARED = [place for place in LATE if IDS[place] in SHARED_AT]


@pytest.mark.clauses("DUR-04", "DUR-05")
@pytest.mark.parametrize("kind", ("raise", "kill"))
@pytest.mark.parametrize(("phase", "after", "rank"), POINTS, ids=IDS)
def test_interrupted_overwrite_leaves_old_or_new(
    subject: Subject, phase: str, after: bool, rank: int, kind: str
) -> None:
    outcomes = subject.run(RANKS, on_ranks.interrupted_overwrite, fault_at(phase, after, rank, kind))
    staged(outcomes, phase, rank)
    old_or_new(subject, outcomes, False)


@pytest.mark.clauses("DUR-04", "DUR-05")
@pytest.mark.parametrize("kind", ("raise", "kill"))
@pytest.mark.parametrize(
    ("phase", "after", "rank"), [POINTS[place] for place in SHARED], ids=[IDS[place] for place in SHARED]
)
def test_interrupted_overwrite_by_a_state_like_the_old_leaves_old_or_new(
    subject: Subject, phase: str, after: bool, rank: int, kind: str
) -> None:
    outcomes = subject.run(RANKS, on_ranks.interrupted_overwrite, fault_at(phase, after, rank, kind), True)
    staged(outcomes, phase, rank)
    old_or_new(subject, outcomes, True)


@pytest.mark.clauses("DUR-02")
@pytest.mark.parametrize(
    ("phase", "after", "rank"), [POINTS[place] for place in LATE], ids=[IDS[place] for place in LATE]
)
def test_killed_save_to_a_new_id_gives_all_or_nothing(subject: Subject, phase: str, after: bool, rank: int) -> None:
    outcomes = subject.run(RANKS, on_ranks.interrupted_save, fault_at(phase, after, rank, "kill"))
    staged(outcomes, phase, rank)
    for found in subject.observe(loading(subject), on_ranks.what_loads, RANKS, (NEW,)):
        must_not_mix(found)


@pytest.mark.clauses("DUR-05")
@pytest.mark.parametrize("how", ("fewer_ranks", "fewer_keys", "smaller_tensors", "larger_tensors"))
def test_completed_overwrite_leaves_nothing_of_the_old(subject: Subject, how: str) -> None:
    subject.observe(RANKS, on_ranks.completed_overwrite, how)
    for rank, found in enumerate(subject.observe(loading(subject), on_ranks.load_after, RANKS, how)):
        must_match([found["differences"]])
        if found["gone"] is not None:
            asked = f"a load that asks for {found['gone']!r}, which the overwrite left out,"
            must_refuse(found["mixed"], asked, rank=rank)


def old_or_new(subject: Subject, outcomes: list[Outcome], shared: bool) -> None:
    """Judge what loads after an overwrite that was interrupted, and whether it is all of one save."""
    found = subject.observe(loading(subject), on_ranks.what_loads, RANKS, (OLD, NEW), shared)
    with subject.promise("DUR-04"):
        for each in found:
            must_still_load(each)
            must_be_new_if_returned(outcomes, each, NEW)
    with subject.promise("DUR-05"):
        for each in found:
            must_not_mix(each)


def loading(subject: Subject) -> int:
    """The ranks that load: one, or as many as saved where the backend opted out of resharding."""
    return RANKS if subject.lacks("resharding") else 1


def fault_at(phase: str, after: bool, rank: int, kind: str) -> Fault:
    """One fault at a point; `resolve_data` at its second item, so that something is written and something is not."""
    first = 2 if phase == "resolve_data" else 1
    return Fault(phase=phase, ranks=(rank,), kind=kind, after=after, first=first, exception="OSError")


def staged(outcomes: list[Outcome], phase: str, rank: int) -> None:
    """Untestable unless the fault was reached; NotApplicable where the backend does not promise anything about it."""
    for outcome in outcomes:
        if isinstance(outcome, Returned) and isinstance(outcome.value, str):
            raise NotApplicable(f"it opted out of crash_safe_overwrite: {outcome.value}")
        if isinstance(outcome, Raised) and not of_subject(outcome.error):
            raise unexpected(outcome.error, outcome.rank)
    needs_reached(outcomes, phase, (rank,))
