"""Which states a recording gives: every beginning, every loss, and cuts between ranks only where they are possible."""

from __future__ import annotations

from typing import Any

from dcp_conformance.harness.replay import states
from dcp_conformance.harness.replay.states import Window
from tests.recording.made import committed, recording


def of_rank(rank: int, *lines: Any) -> list[Any]:
    return [
        (*line[:-1], {**line[-1], "rank": rank}) if isinstance(line[-1], dict) else (*line, {"rank": rank})
        for line in lines
    ]


def file_of(rank: int, path: str, data: bytes) -> list[Any]:
    number = 10 + rank
    return of_rank(rank, ("open", path, number, {"created": True}), ("write", path, number, 0, data))


def two_ranks(*, first: str = "a", second: str = "b") -> Any:
    """Rank 1 writes its file while rank 0 is held back."""
    return recording(*of_rank(0, ("mkdir", "id")), *file_of(1, f"id/{second}", b"1"), *file_of(0, f"id/{first}", b"0"))


WINDOWS = (Window(0, 1, 5), Window(1, 1, 5))


def test_kills_leave_every_beginning() -> None:
    found = list(states.killed(recording(("mkdir", "id"), *committed("a", b"data", file=1)), returned=7))
    assert [state.done for state in found] == [(number,) for number in range(8)]
    assert found[0].tree == {} and found[-1].tree == {"id": None, "id/a": b"data"}
    assert [state.returned for state in found] == [False] * 7 + [True]


def test_committed_file_is_whole_or_absent_after_any_power_cut() -> None:
    whole = recording(("mkdir", "id"), ("fsync", ""), *committed("a", b"data" * 2000, file=1))
    for journal in (True, False):
        found = list(states.power_cut(whole, journal=journal, returned=8))
        assert {state.tree.get("id/a", b"absent") for state in found} == {b"absent", b"data" * 2000}
        assert {state.tree.get("id/a") for state in found if state.returned} == {b"data" * 2000}


def test_commit_without_a_sync_may_be_empty_once_returned() -> None:
    lines = [line for line in committed("a", b"data", file=1) if line[0] != "fsync"]
    found = states.power_cut(recording(("mkdir", "id"), *lines), journal=True, returned=5)
    assert b"" in {state.tree.get("id/a") for state in found if state.returned}


def test_synchronous_write_may_be_lost_while_it_is_made_only() -> None:
    lines = [("open", "a", 1, {"created": True, "synchronous": True}), ("write", "a", 1, 0, b"x"), ("close", "a", 1)]
    found = list(states.power_cut(recording(*lines), journal=True))
    assert any(state.done == (2,) and state.tree.get("a") == b"" for state in found)
    assert all(state.tree == {"a": b"x"} for state in found if state.done == (3,))


def test_ranks_that_know_nothing_of_each_other_are_cut_apart() -> None:
    whole = two_ranks()
    assert states.why_not_free(whole, WINDOWS) == "" and states.held_back(whole, 0, WINDOWS)
    found = list(states.free_cuts(whole, WINDOWS))
    assert {state.done for state in found} == {(1 + own, other) for own in range(3) for other in range(3)}
    assert {"id": None, "id/a": b"0"} in [state.tree for state in found]


def test_ranks_that_use_one_file_are_not_cut_apart() -> None:
    assert states.why_not_free(two_ranks(first="lock", second="lock"), WINDOWS) == "both ranks use id/lock"


def test_rank_that_was_waited_for_is_not_cut_apart() -> None:
    assert not states.held_back(two_ranks(), 1, WINDOWS)


def test_rank_that_writes_before_the_other_is_ready_is_not_cut_apart() -> None:
    assert "not yet ready" in states.why_not_free(two_ranks(), (Window(0, 3, 5), Window(1, 1, 5)))


def test_cut_holds_the_folder_in_which_the_other_rank_works() -> None:
    lines = of_rank(1, ("mkdir", "id"), ("fsync", "id")) + file_of(1, "id/b", b"1") + file_of(0, "id/a", b"0")
    windows = (Window(0, 0, 6), Window(1, 0, 6))
    found = list(states.free_cuts(recording(*lines), windows))
    assert {state.done[1] for state in found} == {1, 2, 3, 4}
    assert all("id" in state.tree for state in found)


def test_state_says_where_it_was_cut() -> None:
    [state] = [state for state in states.free_cuts(two_ranks(), WINDOWS) if state.done == (2, 1)]
    assert state.sentence().startswith("2 of rank 0's and 1 of rank 1's operations had happened, the last was 'rank 1 ")


def test_long_recordings_are_cut_at_some_moments_only() -> None:
    writes = [("write", "a", 1, at, b"x") for at in range(1000)]
    whole = recording(("open", "a", 1, {"created": True}), *writes, ("fsync", "a", 1), ("rename", "a", "b"))
    moments = {state.done for state in states.power_cut(whole, journal=True, returned=1003)}
    assert len(moments) <= states.MOST_MOMENTS + 2 and {(0,), (1,), (1002,), (1003,)} <= moments
