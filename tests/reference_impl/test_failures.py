"""A failure on any rank in any phase ends the operation on all ranks with exactly the failing ranks named."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from dcp_conformance import reference_impl as ref
from tests.reference_impl.ranks import failing, outcome, run_ranks
from tests.reference_impl.storages import LockedError, TwoArgumentsError, failing_reader, failing_writer

SAVE_PHASES = ("reset", "storage_meta", "set_up_storage_writer", "prepare_local_plan", "write_data", "future")
LOAD_PHASES = ("reset", "read_metadata", "set_up_storage_reader", "prepare_local_plan", "read_data", "future")
RANKS = ({0}, {2}, {1, 3})


def _state() -> dict[str, Any]:
    return {"t": torch.arange(4.0), "n": {"o": [1, 2]}}


def _save_matrix(rank: int, folder: str, coordinator: int) -> list[tuple[str, Any, Any, bool]]:
    seen = []
    for phase in (*SAVE_PHASES, "prepare_global_plan", "finish"):
        for ranks in RANKS:
            path = f"{folder}/{phase}-{min(ranks)}"
            writer = failing_writer(path, phase, ranks)
            if coordinator:
                result = outcome(ref.save_state_dict, _state(), writer, coordinator_rank=coordinator)
            else:
                result = outcome(ref.save, _state(), storage_writer=writer, checkpoint_id=path)
            seen.append((phase, ranks, result, outcome(ref.load, _state(), checkpoint_id=path)["type"] == ""))
    return seen


@pytest.mark.parametrize("coordinator", [0, 1])
def test_save_failure_reaches_all_ranks(tmp_path: Path, coordinator: int) -> None:
    seen = run_ranks(4, _save_matrix, str(tmp_path), coordinator)
    for phase, ranks, result, loadable in (row for rank in seen for row in rank):
        central = phase in ("prepare_global_plan", "finish")
        expected = sorted(ranks & {coordinator}) if central else sorted(ranks)
        if expected:
            assert failing(result) == expected, (phase, ranks, result)
            assert set(result["failures"].values()) == {("ValueError", "injected")}
        assert loadable == (not expected), (phase, ranks)
    left = [name for path in tmp_path.iterdir() for name in os.listdir(path) if not (path / ".metadata").exists()]
    assert left == [], "a failed save left files behind"


def _load_matrix(rank: int, folder: str) -> list[tuple[str, Any, Any]]:
    ref.save(_state(), checkpoint_id=folder)
    return [
        (phase, ranks, _load_outcome(folder, phase, ranks))
        for phase in (*LOAD_PHASES, "prepare_global_plan")
        for ranks in RANKS
    ]


def _load_outcome(folder: str, phase: str, ranks: set[int]) -> dict[str, Any]:
    reader = failing_reader(folder, phase, ranks)
    return outcome(ref.load, _state(), storage_reader=reader, checkpoint_id=folder)


def test_load_failure_reaches_all_ranks(tmp_path: Path) -> None:
    for rows in run_ranks(4, _load_matrix, str(tmp_path)):
        for phase, ranks, result in rows:
            if phase == "prepare_global_plan" and 0 not in ranks:
                assert result["type"] == "", (phase, result)
            else:
                expected = [0] if phase == "prepare_global_plan" else sorted(ranks)
                assert failing(result) == expected, (phase, ranks, result)


EXCEPTIONS: dict[str, Callable[[], BaseException]] = {
    "unpicklable": lambda: LockedError("disk"),
    "not unpicklable": lambda: TwoArgumentsError(503, "slow down"),
    "interrupt": lambda: KeyboardInterrupt("stop"),
    "exit": lambda: SystemExit(3),
}


def _odd_exceptions(rank: int, folder: str) -> dict[str, Any]:
    return {
        name: outcome(ref.save, _state(), storage_writer=failing_writer(f"{folder}/{name}", "write_data", {1}, make))
        for name, make in EXCEPTIONS.items()
    }


def test_any_exception_is_reported_by_type_and_text(tmp_path: Path) -> None:
    for results in run_ranks(2, _odd_exceptions, str(tmp_path)):
        assert results["unpicklable"]["failures"] == {1: ("LockedError", "disk")}
        assert results["not unpicklable"]["failures"] == {1: ("TwoArgumentsError", "503: slow down")}
        assert results["interrupt"]["failures"] == {1: ("KeyboardInterrupt", "stop")}
        assert results["exit"]["failures"] == {1: ("SystemExit", "3")}


class _Broken:
    """A Stateful that fails on rank 1 in one of its methods."""

    def __init__(self, where: str) -> None:
        self.where, self.loaded = where, 0

    def state_dict(self) -> dict[str, Any]:
        if self.where == "state_dict" and dist.get_rank() == 1:
            raise ValueError("state_dict failed")
        return {"x": 1}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.loaded += 1
        if self.where == "load_state_dict" and dist.get_rank() == 1:
            raise ValueError("load_state_dict failed")


def _outside_of_phases(rank: int, folder: str) -> dict[str, Any]:
    ref.save({"s": _Broken("")}, checkpoint_id=f"{folder}/good")
    untouched = _Broken("")
    return {
        "state_dict on save": outcome(ref.save, {"s": _Broken("state_dict")}, checkpoint_id=f"{folder}/a"),
        "state_dict on load": outcome(ref.load, {"s": _Broken("state_dict")}, checkpoint_id=f"{folder}/good"),
        "load_state_dict": outcome(ref.load, {"s": _Broken("load_state_dict")}, checkpoint_id=f"{folder}/good"),
        "id missing": outcome(ref.save, {"s": 1}, checkpoint_id=f"{folder}/b" if rank == 0 else None),
        "id unusable": outcome(ref.save, {"s": 1}, checkpoint_id=f"{folder}/b" if rank == 0 else "abc://x"),
        "not a mapping": outcome(ref.save, {"s": 1} if rank == 0 else None, checkpoint_id=f"{folder}/b"),
        "missing key": outcome(
            ref.load, {"s": untouched} | ({"zz": 1} if rank else {}), checkpoint_id=f"{folder}/good"
        ),
        "untouched": untouched.loaded == 0,
        "async": outcome(lambda: _result(ref.async_save({"s": _Broken("state_dict")}, checkpoint_id=f"{folder}/c"))),
        "afterwards": outcome(ref.save, {"s": 1}, checkpoint_id=f"{folder}/d"),
    }


def _result(future: Any) -> Any:
    return future.result(10)


def test_failures_outside_of_the_phases_reach_all_ranks(tmp_path: Path) -> None:
    zero, one = run_ranks(2, _outside_of_phases, str(tmp_path))
    for results in (zero, one):
        for name in ("state_dict on save", "state_dict on load", "load_state_dict", "missing key"):
            assert failing(results[name]) == [1], name
        for name in ("id missing", "id unusable", "not a mapping"):
            assert failing(results[name]) == [1], (name, results[name])
        assert results["untouched"] and results["afterwards"]["type"] == ""
    assert failing(zero["async"]) == [1] and one["async"]["type"] == "ValueError"


def _planner_failures(rank: int, folder: str) -> list[tuple[str, Any]]:
    ref.save(_state(), checkpoint_id=f"{folder}/good")

    def planner(base: Any, method: str) -> Any:
        def fail(self: Any, *args: Any) -> Any:
            if dist.get_rank() == 1 or method == "create_global_plan":
                raise OSError(method)
            return getattr(base, method)(self, *args)

        return type("Failing", (base,), {method: fail})()

    seen = []
    for method in ("create_local_plan", "create_global_plan", "finish_plan", "resolve_data"):
        made = planner(ref.DefaultSavePlanner, method)
        seen.append((method, outcome(ref.save, _state(), checkpoint_id=f"{folder}/{method}", planner=made)))
    for method in ("create_local_plan", "create_global_plan", "finish_plan", "load_bytes", "resolve_tensor"):
        made = planner(ref.DefaultLoadPlanner, method)
        seen.append((method, outcome(ref.load, _state(), checkpoint_id=f"{folder}/good", planner=made)))
    return seen


def test_planner_failures_propagate(tmp_path: Path) -> None:
    for rows in run_ranks(2, _planner_failures, str(tmp_path)):
        for method, result in rows:
            if method == "resolve_data":  # which rank writes is the planner's choice
                assert result["type"] in ("", "CheckpointException")
            else:
                assert failing(result) == ([0] if method == "create_global_plan" else [1]), (method, result)


def test_without_a_group_failures_name_rank_zero(tmp_path: Path) -> None:
    class Failing(ref.FileSystemWriter):
        def finish(self, metadata: Any, results: Any) -> None:
            raise OSError("disk full")

    result = outcome(ref.save, _state(), storage_writer=Failing(tmp_path))
    assert result["failures"] == {0: ("OSError", "disk full")}
    assert os.listdir(tmp_path) == []
