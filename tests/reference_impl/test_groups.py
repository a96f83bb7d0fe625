"""Process groups, ranks that save alone, and who takes part."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

from dcp_conformance import reference_impl as ref
from tests.reference_impl.ranks import failing, outcome, run_ranks
from tests.reference_impl.storages import failing_reader, failing_writer


def _sub_group(rank: int, folder: str) -> Any:
    group = dist.new_group([1, 2])
    if rank == 0:
        return None
    ref.save({f"k{rank}": rank, "t": torch.arange(4.0)}, checkpoint_id=f"{folder}/a", process_group=group)
    ref.load(loaded := {f"k{rank}": -1}, checkpoint_id=f"{folder}/a", process_group=group)
    bad = failing_writer(f"{folder}/b", "write_data", {2})
    failed = outcome(ref.save, {"x": 1}, storage_writer=bad, process_group=group)
    return loaded[f"k{rank}"], failing(failed), sorted(os.listdir(f"{folder}/a"))


def test_a_sub_group_saves_without_the_others(tmp_path: Path) -> None:
    _, one, two = run_ranks(3, _sub_group, str(tmp_path))
    assert one[0] == 1 and two[0] == 2 and one[1] == two[1] == [1]
    assert [name.split(".")[0] for name in one[2]] == ["", "__0_0", "__1_0"]


def _two_groups(rank: int, folder: str) -> int:
    groups = [dist.new_group([0, 1]), dist.new_group([2, 3])]
    mine = groups[rank // 2]
    path = f"{folder}/{rank // 2}"
    for number in range(3):
        ref.save({"v": number, f"k{rank}": rank}, checkpoint_id=path, process_group=mine)
    ref.load(loaded := {"v": -1, f"k{rank}": -1}, checkpoint_id=path, process_group=mine)
    return loaded["v"] * 10 + loaded[f"k{rank}"]


def test_disjoint_groups_save_at_once(tmp_path: Path) -> None:
    assert run_ranks(4, _two_groups, str(tmp_path)) == [20, 21, 22, 23]


def _one_alone(rank: int, folder: str) -> Any:
    if rank == 0:
        ref.save({"t": torch.ones(3)}, checkpoint_id=folder, no_dist=True)
        ref.load(loaded := {"t": torch.zeros(3)}, checkpoint_id=folder, no_dist=True)
        return loaded["t"].sum().item()
    return None


def test_no_dist_needs_nobody(tmp_path: Path) -> None:
    assert run_ranks(2, _one_alone, str(tmp_path))[0] == 3


def _independent(rank: int, folder: str) -> Any:
    mesh = init_device_mesh("cpu", (2,))
    value = distribute_tensor(torch.arange(8.0), mesh, [Shard(0)])
    ref.save({"t": torch.zeros(2), "own": -5}, checkpoint_id=folder)  # a collective checkpoint, about to be replaced
    dist.barrier()
    time.sleep(0.2 * rank)
    ref.save({"d": value, "own": rank}, checkpoint_id=folder, use_collectives=False)
    dist.barrier()
    target = distribute_tensor(torch.full((8,), -1.0), mesh, [Shard(0)])
    loaded: dict[str, Any] = {"d": target, "own": -1}
    ref.load(loaded, checkpoint_id=folder)
    other = distribute_tensor(torch.full((8,), -1.0), mesh, [Replicate()])
    refused = outcome(ref.load, {"d": other}, checkpoint_id=folder)
    whole = outcome(ref.save, {"d": value}, checkpoint_id=f"{folder}/{rank}", no_dist=True)
    dist.barrier()
    names = sorted(os.listdir(folder))
    dist.barrier()
    ref.save({"own": 9}, checkpoint_id=folder)
    return loaded["own"], target.to_local().tolist(), refused, whole, names, sorted(os.listdir(folder))


def test_ranks_that_save_alone(tmp_path: Path) -> None:
    for rank, result in enumerate(run_ranks(2, _independent, str(tmp_path))):
        own, local, refused, whole, names, after = result
        assert own == rank and local == [4.0 * rank + i for i in range(4)]
        assert failing(refused) == [0, 1] and "does not hold all of 'd'" in refused["text"]
        assert "not filled" in whole["text"]
        files = [name.split(".")[0] or name for name in names if not name.isdigit()]
        assert files == ["__0", "__0_0", "__1", "__1_0"]
        assert len([name for name in after if not name.isdigit()]) == 2


def _independent_failure(rank: int, folder: str) -> Any:
    writer = failing_writer(folder, "write_data", {1})
    return outcome(ref.save, {"a": 1}, storage_writer=writer, use_collectives=False)


def test_a_rank_that_saves_alone_fails_alone(tmp_path: Path) -> None:
    zero, one = run_ranks(2, _independent_failure, str(tmp_path))
    assert zero["type"] == "" and one["type"] == "ValueError" and zero["seconds"] < 5


def _different_views(rank: int, folder: str) -> Any:
    ref.save({"a": 1}, checkpoint_id=f"{folder}/{rank}", no_dist=True)
    if rank == 1:
        os.rename(f"{folder}/1/.metadata", f"{folder}/1/__1.metadata")
    dist.barrier()
    return outcome(ref.load, {"a": 0}, checkpoint_id=f"{folder}/{rank}")


def test_ranks_that_see_different_metadata_fail_together(tmp_path: Path) -> None:
    for result in run_ranks(2, _different_views, str(tmp_path)):
        assert failing(result) == [1]


def test_metadata_of_one_rank_does_not_hide_damage(tmp_path: Path) -> None:
    ref.save({"a": 1}, checkpoint_id=tmp_path)
    os.link(tmp_path / ".metadata", tmp_path / "__0.metadata")
    raw = (tmp_path / ".metadata").read_bytes()
    (tmp_path / ".metadata").unlink()
    ref.load({"a": 0}, checkpoint_id=tmp_path)
    (tmp_path / ".metadata").write_bytes(raw[:50])
    assert "damaged" in outcome(ref.load, {"a": 0}, checkpoint_id=tmp_path)["text"]


def _coordinators(rank: int, folder: str) -> Any:
    for coordinator in (0, 1, 2):
        path = f"{folder}/{coordinator}"
        ref.save_state_dict({"t": torch.ones(2), f"k{rank}": rank}, ref.FileSystemWriter(path), None, coordinator)
        loaded: dict[str, Any] = {"t": torch.zeros(2), f"k{rank}": -1}
        ref.load_state_dict(loaded, ref.FileSystemReader(path), None, coordinator)
        assert loaded["t"].sum() == 2 and loaded[f"k{rank}"] == rank
        bad = failing_reader(path, "read_data", {1})
        assert failing(outcome(ref.load_state_dict, loaded, bad, None, coordinator)) == [1]


def test_any_rank_can_coordinate(tmp_path: Path) -> None:
    run_ranks(3, _coordinators, str(tmp_path))


def _silent(rank: int, folder: str) -> Any:
    group = dist.new_group([0, 1], timeout=timedelta(seconds=2))

    class Silent(ref.FileSystemWriter):
        def write_data(self, plan: Any, planner: Any) -> Any:
            if dist.get_rank() == 1:
                time.sleep(60)
            return super().write_data(plan, planner)

    return outcome(ref.save, {"a": 1}, storage_writer=Silent(folder), process_group=group)


def test_a_silent_rank_ends_the_save_within_the_timeout_of_the_group(tmp_path: Path) -> None:
    (result,) = run_ranks(2, _silent, str(tmp_path), answering=1)
    assert failing(result) == [1] and result["seconds"] < 10
    assert not (tmp_path / ".metadata").exists()


def _killed(rank: int, folder: str) -> Any:
    class Dying(ref.FileSystemWriter):
        def write_data(self, plan: Any, planner: Any) -> Any:
            if dist.get_rank() == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().write_data(plan, planner)

    return outcome(ref.save, {"a": 1}, storage_writer=Dying(folder))


def test_a_killed_rank_means_no_commit(tmp_path: Path) -> None:
    (result,) = run_ranks(2, _killed, str(tmp_path), answering=1)
    assert result["type"] == "CheckpointException" and not (tmp_path / ".metadata").exists()


def _balance(rank: int, folder: str) -> Any:
    written: list[str] = []

    class Recording(ref.FileSystemWriter):
        def write_data(self, plan: Any, planner: Any) -> Any:
            written.extend(item.index.fqn for item in plan.items)
            return super().write_data(plan, planner)

    state: dict[str, Any] = {f"t{i}": torch.full((64,), 1.0) for i in range(8)} | {"rng": f"rank{rank}"}
    state["step"] = torch.tensor([float(rank)])
    ref.save(state, storage_writer=Recording(f"{folder}/a"))
    balanced = list(written)
    written.clear()
    lowest = ref.DefaultSavePlanner(dedup_save_to_lowest_rank=True)
    ref.save(state, storage_writer=Recording(f"{folder}/b"), planner=lowest)
    loaded: dict[str, Any] = {"rng": "", "step": torch.ones(1)}
    ref.load(loaded, checkpoint_id=f"{folder}/a")
    return balanced, written, (loaded["rng"], loaded["step"].item())


def test_replicated_values_are_written_once_and_spread(tmp_path: Path) -> None:
    results = run_ranks(2, _balance, str(tmp_path))
    names = [name for balanced, _, _ in results for name in balanced]
    assert sorted(names) == sorted(set(names)) and all(3 <= len(balanced) <= 6 for balanced, _, _ in results)
    assert len(results[0][1]) == 10 and results[1][1] == []
    assert {kept for _, _, kept in results} == {("rank0", 0.0)}


def _disagreement(rank: int, folder: str) -> Any:
    mesh = init_device_mesh("cpu", (2,))
    whole = distribute_tensor(torch.arange(8.0), mesh, [Shard(0)])

    class Dropping(ref.DefaultSavePlanner):
        def create_local_plan(self) -> ref.SavePlan:
            plan = super().create_local_plan()
            return ref.SavePlan([] if dist.get_rank() else plan.items, planner_data=plan.planner_data)

    class Overlapping(ref.DefaultSavePlanner):
        def create_local_plan(self) -> ref.SavePlan:
            plan = super().create_local_plan()
            data: Any = plan.items[0].tensor_data
            data.chunk.offsets = torch.Size([dist.get_rank()])
            return plan

    from torch.distributed.tensor import DTensor, Partial

    partial = DTensor.from_local(torch.ones(2), mesh, [Partial()], run_check=False)
    return [
        outcome(ref.save, {"v": torch.ones(1) if rank else 5}, checkpoint_id=f"{folder}/kind"),
        outcome(ref.save, {"v": torch.ones(2 + rank)}, checkpoint_id=f"{folder}/shape"),
        outcome(ref.save, {"v": torch.ones(2, dtype=[torch.int32, torch.int64][rank])}, checkpoint_id=f"{folder}/type"),
        outcome(ref.save, {"v": whole}, checkpoint_id=f"{folder}/drop", planner=Dropping()),
        outcome(ref.save, {"v": whole}, checkpoint_id=f"{folder}/overlap", planner=Overlapping()),
        outcome(ref.save, {"v": partial}, checkpoint_id=f"{folder}/partial"),
    ]


def test_plans_that_do_not_fit_together_fail_before_data_is_written(tmp_path: Path) -> None:
    for results in run_ranks(2, _disagreement, str(tmp_path)):
        for number, result in enumerate(results):
            assert result["type"] == "CheckpointException" and (number == 5 or "'v'" in result["text"]), result
        assert failing(results[5]) == [0, 1]
    assert [name for path in tmp_path.iterdir() for name in os.listdir(path)] == []


def _subsets(rank: int, folder: str) -> Any:
    class Talking:
        def __init__(self) -> None:
            self.value = -1

        def state_dict(self) -> dict[str, Any]:
            numbers = [None, None]
            dist.all_gather_object(numbers, rank)
            return {"v": 7}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            dist.barrier()
            self.value = state["v"]

    ref.save({"a": 1, "b": 2, "s": Talking()}, checkpoint_id=folder)
    loaded: dict[str, Any] = {"s": Talking(), "b": 0} if rank else {"b": 0, "a": 0, "s": Talking()}
    ref.load(loaded, checkpoint_id=folder)
    return loaded["b"], loaded.get("a"), loaded["s"].value


def test_ranks_may_ask_for_different_keys_in_different_orders(tmp_path: Path) -> None:
    assert run_ranks(2, _subsets, str(tmp_path)) == [(2, 1, 7), (2, None, 7)]
