"""Saving in the background."""

from __future__ import annotations

import gc
import io
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from dcp_conformance import reference_impl as ref
from dcp_conformance.reference_impl.storage import process_writer
from tests.reference_impl.ranks import outcome, run_ranks
from tests.reference_impl.test_interop import sharded


class Slow(ref.FileSystemWriter):
    """A writer that begins late."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        time.sleep(0.3)
        return super().write_data(plan, planner)


class Value:
    """Any object of an application."""

    def __init__(self, content: Any) -> None:
        self.content = content

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and other.content == self.content


def plain_stager() -> Any:
    return ref.DefaultStager(ref.StagingOptions(False, False, False, False))


def test_later_changes_do_not_reach_the_checkpoint(tmp_path: Path) -> None:
    tensor, buffer = torch.ones(4), io.BytesIO(b"old")
    state: dict[str, Any] = {"t": tensor, "view": tensor[1:3], "n": {"l": [tensor, 1]}, "b": buffer, "s": {1},
                             "o": [1], "tuple": (tensor,), "object": Value([1]),
                             "p": torch.nn.Parameter(torch.ones(1))}  # fmt: skip
    future: Any = ref.async_save(state, storage_writer=Slow(tmp_path))
    tensor.fill_(9)
    buffer.write(b"NEW")
    state["s"].add(2)
    state["o"].append(2)
    state["n"]["l"][1] = 2
    state["object"].content.append(2)
    state["late"] = 1
    assert future.result(10).storage_meta is not None
    loaded: dict[str, Any] = {"t": torch.zeros(4), "view": torch.zeros(2), "n": {"l": [torch.zeros(4), 0]}, "b": 0,
                              "s": 0, "o": 0, "tuple": 0, "object": 0, "p": torch.zeros(1)}  # fmt: skip
    ref.load(loaded, checkpoint_id=tmp_path)
    assert loaded["t"].sum() == 4 and loaded["view"].sum() == 2 and loaded["n"]["l"][1] == 1
    assert loaded["b"].getvalue() == b"old" and loaded["s"] == {1} and loaded["o"] == [1]
    assert loaded["tuple"][0].sum() == 4 and loaded["object"] == Value([1]) and loaded["p"].sum() == 1
    assert "late" not in ref.FileSystemReader(tmp_path).read_metadata().state_dict_metadata


def test_a_stager_used_again_does_not_change_an_earlier_save(tmp_path: Path) -> None:
    stager, tensor = plain_stager(), torch.ones(2)
    first: Any = ref.async_save({"t": tensor}, storage_writer=Slow(tmp_path / "1"), async_stager=stager)
    tensor.fill_(2)
    second: Any = ref.async_save({"t": tensor}, storage_writer=Slow(tmp_path / "2"), async_stager=stager)
    second.result(10), first.result(10)
    for number in (1, 2):
        ref.load(loaded := {"t": torch.zeros(2)}, checkpoint_id=tmp_path / str(number))
        assert loaded["t"].tolist() == [number, number]


def test_staging_copies_what_is_used_and_keeps_sharing() -> None:
    large = torch.zeros(1_000_000)
    base = torch.arange(10.0)
    staged = plain_stager().stage({"v": large[:10], "w": large[-10:], "a": base, "b": base, "c": base[4:]})
    assert staged["v"].untyped_storage().nbytes() == 40
    assert staged["a"].data_ptr() == staged["b"].data_ptr() == staged["c"].data_ptr() - 16
    assert staged["c"].tolist() == [4, 5, 6, 7, 8, 9] and staged["a"].data_ptr() != base.data_ptr()


class OddStager:
    """A stager whose future fails, at once or later."""

    should_synchronize_after_execute = False

    def __init__(self, error: BaseException, late: bool) -> None:
        self.error, self.late = error, late

    def stage(self, state_dict: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if self.late:
            threading.Timer(0.1, future.set_exception, (self.error,)).start()
        else:
            future.set_exception(self.error)
        return future

    def synchronize_staging(self) -> None:
        """Nothing to wait for."""

    def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("error", [RuntimeError("cannot stage"), KeyboardInterrupt("stop")])
def test_failed_staging_reaches_both_futures(tmp_path: Path, error: BaseException, late: bool) -> None:
    response: Any = ref.async_save({"t": 1}, checkpoint_id=tmp_path, async_stager=OddStager(error, late))
    assert outcome(response.staging_completion.result, 5)["type"] == type(error).__name__
    assert outcome(response.upload_completion.result, 5)["failures"][0][0] == type(error).__name__


def test_a_stager_in_a_thread_gives_two_futures(tmp_path: Path) -> None:
    stager = ref.DefaultStager(ref.StagingOptions(False, False, True, False))
    response: Any = ref.async_save({"t": torch.ones(2)}, checkpoint_id=tmp_path, async_stager=stager)
    assert response.staging_completion.result(5) is None
    assert "t" in response.upload_completion.result(5).state_dict_metadata
    stager.close()


def test_stagers_are_chosen_closed_and_waited_for(tmp_path: Path) -> None:
    calls: list[str] = []

    class Recording(ref.DefaultStager):
        def __init__(self) -> None:
            super().__init__(ref.StagingOptions(False, False, False, False))

        def stage(self, state_dict: Any, **_: Any) -> Any:
            calls.append("stage")
            return super().stage(state_dict)

        def synchronize_staging(self) -> None:
            calls.append("synchronize")

        def close(self) -> None:
            calls.append("close")

    given: Any = ref.async_save({"t": 1}, checkpoint_id=tmp_path / "a", async_stager=Recording())
    given.result(5)
    assert calls == ["stage", "synchronize"]

    class Both(ref.FileSystemWriter, Recording):
        def __init__(self, path: Path) -> None:
            ref.FileSystemWriter.__init__(self, path)
            Recording.__init__(self)

    calls.clear()
    writer: Any = ref.async_save({"t": 1}, storage_writer=Both(tmp_path / "b"))
    writer.result(5)
    assert calls[0] == "stage"


def test_failures_come_by_the_future_or_by_the_call(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(ref.FileSystemWriter):
        def write_data(self, plan: Any, planner: Any) -> Any:
            raise OSError(5, "EIO")

    class BadState:
        def state_dict(self) -> Any:
            raise ValueError("no state")

        def load_state_dict(self, state: Any) -> None:
            """Never called."""

    future: Any = ref.async_save({"t": 1}, storage_writer=Failing(tmp_path))
    assert outcome(future.result, 5)["failures"][0] == ("OSError", "[Errno 5] EIO")
    assert "async_save failed" in caplog.text and "EIO" in caplog.text
    assert outcome(ref.async_save, {"s": BadState()}, checkpoint_id=tmp_path)["type"] == "ValueError"
    later: Any = ref.async_save({"t": 1}, checkpoint_id=tmp_path / "later")
    later.result(5)


def test_the_copy_is_released_after_the_save(tmp_path: Path) -> None:
    kept: list[Any] = []

    class Watching(ref.FileSystemWriter):
        fail = False

        def write_data(self, plan: Any, planner: Any) -> Any:
            kept.append(weakref.ref(planner.resolve_data(plan.items[0]).untyped_storage()))
            if self.fail:
                raise OSError("EIO")
            return super().write_data(plan, planner)

    gc.disable()
    try:
        for fail in (False, True):
            writer = Watching(tmp_path)
            writer.fail = fail
            future: Any = ref.async_save({"n": {"t": torch.ones(1000)}}, storage_writer=writer)
            error = outcome(future.result, 5)
            assert bool(error["type"]) == fail
            deadline = time.monotonic() + 2
            while kept[-1]() is not None and time.monotonic() < deadline:
                time.sleep(0.01)
            assert kept[-1]() is None, f"the staged tensor is still alive (failed: {fail})"
    finally:
        gc.enable()


def test_an_exit_right_after_the_call_finishes_the_save(tmp_path: Path) -> None:
    code = f"""
import torch, time, reference_impl as ref
class Slow(ref.FileSystemWriter):
    def write_data(self, plan, planner):
        time.sleep(0.3)
        return super().write_data(plan, planner)
ref.async_save({{"t": torch.ones(3), "u": torch.ones(3)}}, storage_writer=Slow({str(tmp_path)!r}, thread_count=2))
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=Path(ref.__file__).parents[1])
    ref.load(loaded := {"t": torch.zeros(3)}, checkpoint_id=tmp_path)
    assert loaded["t"].sum() == 3


def _overlapping(rank: int, folder: str) -> Any:
    class Late(ref.DefaultSavePlanner):
        def __init__(self, delay: float) -> None:
            super().__init__()
            self.delay = delay

        def create_local_plan(self) -> ref.SavePlan:
            time.sleep(self.delay)
            return super().create_local_plan()

    mine = {name: {name: 1, f"{name}{rank}": 1} for name in "AB"}
    a: Any = ref.async_save(mine["A"], checkpoint_id=f"{folder}/A", planner=Late(0.4 * (rank == 1)))
    b: Any = ref.async_save(mine["B"], checkpoint_id=f"{folder}/B", planner=Late(0.2 * (rank == 0)))
    ref.save({"C": 1}, checkpoint_id=f"{folder}/C")
    order = [b, a] if rank else [a, b]
    return [sorted(f.result(10).state_dict_metadata) for f in (order if rank == 0 else reversed(order))]


def test_overlapping_saves_never_mix(tmp_path: Path) -> None:
    for keys in run_ranks(2, _overlapping, str(tmp_path)):
        assert keys == [["A", "A0", "A1"], ["B", "B0", "B1"]]


def _sharded_staging(rank: int, folder: str) -> Any:
    mesh = init_device_mesh("cpu", (2,))
    value, other = distribute_tensor(torch.arange(8.0), mesh, [Shard(0)]), sharded(2, torch.arange(8.0).reshape(4, 2))
    training = dist.new_group([0, 1])
    future: Any = ref.async_save({"d": value, "s": other}, storage_writer=Slow(folder))
    value.to_local().fill_(-1)
    other.local_shards()[0].tensor.fill_(-1)
    for _ in range(20):
        dist.all_reduce(torch.ones(1), group=training)
    future.result(10)
    loaded = {"d": torch.zeros(8), "s": torch.zeros(4, 2)}
    ref.load(loaded, checkpoint_id=folder)
    return loaded["d"].tolist(), loaded["s"].reshape(-1).tolist()


def test_sharded_values_are_staged_with_their_layout(tmp_path: Path) -> None:
    expected = [float(i) for i in range(8)]
    assert run_ranks(2, _sharded_staging, str(tmp_path)) == [(expected, expected)] * 2


class Unwritable(ref.FileSystemWriter):
    """Fails in the writer process."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        raise OSError(28, "disk full")


class Tidy(ref.FileSystemWriter):
    """Fails where a file in shared memory has a name: it would outlive the processes if they were killed now."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        # strict=False: the folder that is listed has a descriptor too, and it is closed again
        opened = [str(path.resolve(strict=False)) for path in Path("/proc/self/fd").iterdir()]
        shared = [name for name in opened if name.startswith("/dev/shm/") and "torch" not in name]
        if not shared or not all(name.endswith(" (deleted)") for name in shared):
            raise AssertionError(f"the shared files are {shared}")
        return super().write_data(plan, planner)


def test_a_process_writes_and_is_replaced_when_it_dies(tmp_path: Path) -> None:
    state: dict[str, Any] = {"t": torch.arange(8.0).reshape(2, 4).t(), "o": {"x": [1, "a"]}}
    state |= {f"small{i}": torch.full((3,), float(i)) for i in range(50)}

    def go(name: str, writer: Any = None) -> dict[str, Any]:
        kind = ref.AsyncCheckpointerType.PROCESS
        path = str(tmp_path / name)
        future: Any = ref.async_save(state, checkpoint_id=path, async_checkpointer_type=kind, storage_writer=writer)
        return outcome(future.result, 90)

    results = [go("1"), go("2", Unwritable(tmp_path)), go("3", Tidy(tmp_path / "3"))]
    process_writer._process._process.kill()
    process_writer._process._process.join()
    results.append(go("4"))
    assert [r["type"] for r in results] == ["", "CheckpointException", "", ""], results
    assert results[1]["failures"] == {0: ("OSError", "[Errno 28] disk full")}
    loaded: dict[str, Any] = {"t": torch.zeros(4, 2), "o": {"x": 0}, "small49": torch.zeros(3)}
    ref.load(loaded, checkpoint_id=tmp_path / "4")
    assert torch.equal(loaded["t"], state["t"]) and loaded["o"] == state["o"] and loaded["small49"].sum() == 147
