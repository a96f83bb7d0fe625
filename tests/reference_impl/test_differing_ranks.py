"""Ranks that do not agree, parts that are described by attributes, and ranks that hold nothing of a tensor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from dcp_conformance import reference_impl as ref
from tests.reference_impl.ranks import run_ranks


def _differ(rank: int, folder: str) -> Any:
    state = {"rng": f"rank {rank}", **{f"t{number}": torch.full((7,), float(rank)) for number in range(4)}}
    ref.save(state, checkpoint_id=folder)
    found = {"rng": "", **{f"t{number}": torch.empty(7) for number in range(4)}}
    ref.load(found, checkpoint_id=folder)
    metadata = ref.FileSystemReader(folder).read_metadata()
    return found["rng"], {float(found[f"t{number}"][0]) for number in range(4)}, sorted(metadata.planner_data)


def test_replicated_state_that_differs_is_stored_from_one_rank(tmp_path: Path) -> None:
    for rng, values, names in run_ranks(2, _differ, str(tmp_path)):
        assert rng == "rank 0"
        assert values == {0.0}
        assert names == ["rng", "t0", "t1", "t2", "t3"]


def _described(rank: int, folder: str) -> list[float]:
    """Two rows of a tensor of 4 x 3, as one row in each of two places of a padded buffer."""
    local = torch.full((4, 3), -1.0)
    local[0], local[2] = rank * 2.0, rank * 2.0 + 1
    described: Any = local
    described.global_shape = (4, 3)
    described.global_offsets = ((rank * 2, 0), (rank * 2 + 1, 0))
    described.local_offsets = ((0, 0), (2, 0))
    described.local_sizes = ((1, 3), (1, 3))
    ref.async_save({"t": described}, checkpoint_id=folder).result()
    whole = torch.empty(4, 3)
    ref.load({"t": whole}, checkpoint_id=folder)
    described.zero_()
    ref.load({"t": described}, checkpoint_id=folder)
    return [*whole[:, 0].tolist(), *described[:, 0].tolist()]


def test_described_parts_are_stored_as_parts(tmp_path: Path) -> None:
    first, second = run_ranks(2, _described, str(tmp_path))
    assert first == [0.0, 1.0, 2.0, 3.0, 0.0, 0.0, 1.0, 0.0]
    assert second == [0.0, 1.0, 2.0, 3.0, 2.0, 0.0, 3.0, 0.0]


def _empty_meta(rank: int, folder: str) -> Any:
    mesh = init_device_mesh("cpu", (4,))
    ref.save({"t": distribute_tensor(torch.arange(10.0).view(5, 2), mesh, [Shard(0)])}, checkpoint_id=folder)
    found = {"t": distribute_tensor(torch.empty(5, 2, device="meta"), mesh, [Shard(0)])}
    ref.load(found, checkpoint_id=folder)
    loaded = found["t"]
    assert isinstance(loaded, DTensor)
    return loaded.to_local().device.type, loaded.to_local().flatten().tolist()


def test_rank_without_elements_gets_its_tensor_back_on_its_device(tmp_path: Path) -> None:
    found = run_ranks(4, _empty_meta, str(tmp_path))
    assert [device for device, _ in found] == ["cpu"] * 4
    assert [values for _, part in found for values in part] == [float(number) for number in range(10)]
