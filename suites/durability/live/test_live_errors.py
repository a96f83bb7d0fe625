"""A disk that fails while a save runs: what save then says, and what loads."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from dcp_conformance.harness.laws.reasons import tells_reason
from dcp_conformance.harness.laws.verbs import Broken, Untestable, described, of_subject, unexpected
from dcp_conformance.harness.laws.versions import must_not_mix, must_still_load
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks
from dcp_conformance.harness.subject.trusted import TABLE, observed

if TYPE_CHECKING:
    from dcp_conformance.suites.durability.live import on_ranks_live_errors as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.durability.live.on_ranks_live_errors")

if TYPE_CHECKING:
    from dcp_conformance.suites.durability.live import on_ranks_live_errors_ranks as on_two_ranks
else:
    on_two_ranks = module_on_ranks("dcp_conformance.suites.durability.live.on_ranks_live_errors_ranks")

OLD, NEW = 1, 2
HOW = ("once", "from_then_on", "short_or_slow")
COLUMNS = ("save", "fault", "points", "returned", "raised", "old", "new", "error", "silent")


@pytest.mark.below_storage
@pytest.mark.clauses("DUR-09", "DUR-19", "DUR-02")
@pytest.mark.parametrize("how", HOW)
def test_save_to_a_new_id_tells_of_a_failing_disk(subject: Subject, how: str) -> None:
    judge_fresh(subject, failing_saves(subject, "fresh", how))


@pytest.mark.below_storage
@pytest.mark.clauses("DUR-09", "DUR-19", "DUR-04", "DUR-05")
@pytest.mark.parametrize("how", HOW)
def test_overwrite_tells_of_a_failing_disk_and_keeps_the_old(subject: Subject, how: str) -> None:
    judge_overwrite(subject, failing_saves(subject, "overwrite", how))


@pytest.mark.below_storage
@pytest.mark.clauses("DUR-09", "DUR-19", "DUR-02")
def test_ranks_saving_to_a_new_id_tell_of_a_failing_disk(subject: Subject) -> None:
    judge_fresh(subject, failing_ranks(subject, "fresh"))


@pytest.mark.below_storage
@pytest.mark.clauses("DUR-09", "DUR-19", "DUR-04", "DUR-05")
def test_ranks_overwriting_tell_of_a_failing_disk(subject: Subject) -> None:
    judge_overwrite(subject, failing_ranks(subject, "overwrite"))


def judge_fresh(subject: Subject, points: list[dict[str, Any]]) -> None:
    """The laws about a save to a new id."""
    with subject.promise("DUR-09"):
        returned_means_saved(points)
    with subject.promise("DUR-19"):
        error_tells_its_reason(points)
    with subject.promise("DUR-02"):
        for point in points:
            judged(point, lambda point=point: must_not_mix(_of_new(point)))


def judge_overwrite(subject: Subject, points: list[dict[str, Any]]) -> None:
    """The laws about a save over a checkpoint."""
    with subject.promise("DUR-09"):
        returned_means_saved(points)
    with subject.promise("DUR-19"):
        error_tells_its_reason(points)
    with subject.promise("DUR-04"):
        for point in points:
            judged(point, lambda point=point: must_still_load(point))
    with subject.promise("DUR-05"):
        for point in points:
            judged(point, lambda point=point: must_not_mix(point))


def failing_saves(subject: Subject, situation: str, how: str) -> list[dict[str, Any]]:
    """The points of one process that were reached, with what they gave."""
    [points] = observed(subject.run(1, on_ranks.failing_saves, situation, how, fresh=True))
    return sound(subject, points, situation, how)


def failing_ranks(subject: Subject, situation: str) -> list[dict[str, Any]]:
    """The points of two ranks that were reached: a save returned if it did so on both, and rank 0 loads everything."""
    first, second = observed(subject.run(2, on_two_ranks.failing_ranks, situation, fresh=True))
    if isinstance(first, list):
        for point, other in zip(first, second, strict=True):
            point["elsewhere"] = other["saved"].error
            point["saved"] = other["saved"] if point["saved"].ok else point["saved"]
    return sound(subject, first, situation, "once, on one of two ranks")


def sound(subject: Subject, points: Any, situation: str, how: str) -> list[dict[str, Any]]:
    """The points that were reached, counted on the certificate; Untestable where a kind of operation never was."""
    if not points:
        raise Untestable("no file operation was seen where its checkpoint ids are")
    blind = next((point["blind"] for point in points if point["blind"]), "")
    if blind:
        raise Untestable(f"not all file operations could be seen: {blind}")
    subject.table(TABLE, ("means",), {(point["means"],) for point in points})
    subject.table("Live errors", COLUMNS, [(situation, how, *counted(points))])
    unreached = {point["kind"] for point in points} - {point["kind"] for point in points if point["reached"]}
    if unreached:
        raise Untestable(f"no fault in {', '.join(sorted(unreached))} was reached")
    return [point for point in points if point["reached"]]


def returned_means_saved(points: list[dict[str, Any]]) -> None:
    """Broken where a save returned, and the new state does not load."""
    for point in points:
        saved = point["saved"]
        if saved.error is not None:
            if not of_subject(saved.error):
                raise unexpected(saved.error, 0)
            continue
        loads = point["attempt"]
        if loads.error is not None:
            then = f"the load raised {described(loads.error)}"
        elif outcome(point) != "new":
            then = point["unlike"][NEW][0]
        elif point["unsynced"]:
            then = f"{point['unsynced']} was never synced after that: it is in memory, and will not get to the disk"
        else:
            continue
        raise Broken(f"{where(point)}: save returned, and {then}", kind="not reported", rank=0)


def error_tells_its_reason(points: list[dict[str, Any]]) -> None:
    """Broken where a save raised, and nothing in the error says what the system had answered."""
    for point in points:
        for error in (point["saved"].error, point.get("elsewhere")):
            if error is not None and point["errno"] and not tells_reason(error, point["errno"]):
                raise Broken(
                    f"{where(point)}: save raised {described(error)}, in which that answer is not to be found",
                    kind="reason lost", rank=0, evidence={"traceback": error.traceback},
                )  # fmt: skip


def judged(point: dict[str, Any], law: Any) -> None:
    """Put what a law finds into words with its point."""
    try:
        law()
    except Broken as broken:
        ended = "returned" if point["saved"].ok else f"raised {described(point['saved'].error)}"
        said = f"{where(point)}: save {ended}, and {broken.observed}"
        raise Broken(said, kind=broken.kind, rank=0, evidence=broken.evidence) from None


def where(point: dict[str, Any]) -> str:
    """The fault, and the options of the writer if there are any."""
    return f"{point['point']}{' with ' + point['options'] if point['options'] else ''}"


def outcome(point: dict[str, Any]) -> str:
    """What loads after a point: old, new, error or silent."""
    if not point["attempt"].ok:
        return "error"
    versions = [name for version, name in ((NEW, "new"), (OLD, "old")) if not point["unlike"][version]]
    return versions[0] if versions else "silent"


def counted(points: list[dict[str, Any]]) -> tuple[int, ...]:
    """The numbers of a row: points, saves that returned and that raised, what loaded."""
    reached = [point for point in points if point["reached"]]
    returned = sum(point["saved"].ok for point in reached)
    loads = Counter(outcome(point) for point in reached)
    return (len(reached), returned, len(reached) - returned, *(loads[name] for name in COLUMNS[5:]))


def _of_new(point: dict[str, Any]) -> dict[str, Any]:
    return {**point, "unlike": {NEW: point["unlike"][NEW]}}
