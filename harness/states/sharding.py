"""Builds tensors in the layouts of harness.states.layouts, and takes them apart again for comparison."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed._shard import sharded_tensor
from torch.distributed._shard.sharded_tensor import ShardedTensor
from torch.distributed._shard.sharding_spec import EnumerableShardingSpec, ShardMetadata
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset
from torch.distributed.tensor.placement_types import Placement, _StridedShard

from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.layouts import Layout, Mesh

Shards = Sequence[tuple[int, Sequence[int], Sequence[int]]]


class Placer:
    """Places whole tensors on the ranks of this world; every rank must ask for the same layouts in the same order."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._type = torch.device(device).type
        self._meshes: dict[Mesh, DeviceMesh] = {}

    def mesh(self, ranks: Mesh) -> DeviceMesh:
        """Return the mesh of these global ranks.

        Made once, because each new one costs a process group for each dimension.
        """
        if ranks not in self._meshes:
            self._meshes[ranks] = DeviceMesh(self._type, torch.tensor(ranks))
        return self._meshes[ranks]

    def placed(self, whole: torch.Tensor, layout: Layout) -> torch.Tensor | ShardedTensor:
        """`whole` in that layout, in memory of its own."""
        whole = whole.to(self._device)
        if layout.kind == "plain":
            return whole.clone()
        if layout.shards:
            return shards_of(whole, layout.shards, self._device)
        return self.distributed(whole, layout.mesh, layout.placements)

    def distributed(self, whole: torch.Tensor, ranks: Mesh, placements: Sequence[str]) -> DTensor:
        """`whole` as a DTensor; nothing is sent, each rank cuts out its part."""
        mesh = self.mesh(ranks)
        placed = _placements(placements, mesh)
        if issubclass(_StridedShard, Shard) and any(name.startswith("SS") for name in placements):
            # Up to torch 2.12 distribute_tensor cuts these as if they were not strided.
            sizes, offsets = compute_local_shape_and_global_offset(whole.shape, mesh, placed)
            local = _cut(whole.to(self._device), offsets, sizes).clone()
            return DTensor.from_local(
                local, mesh, placed, run_check=False, shape=whole.shape, stride=whole.stride()
            )  # fmt: skip
        return distribute_tensor(whole.to(self._device).clone(), mesh, placed, src_data_rank=None)


def _placements(names: Sequence[str], mesh: DeviceMesh) -> list[Placement]:
    found: list[Placement] = []
    for dimension, name in enumerate(names):
        if name == "R":
            found.append(Replicate())
        elif name.startswith("SS"):
            factor = int(torch.tensor(mesh.shape[dimension + 1 :]).prod())
            found.append(_StridedShard(int(name[2:]), split_factor=factor))
        else:
            found.append(Shard(int(name[1:])))
    return found


def shards_of(whole: torch.Tensor, shards: Shards, device: str = "cpu") -> ShardedTensor:
    """`whole` as a ShardedTensor of (rank, offsets, sizes); needs a process group, also in a world of one."""
    kind = torch.device(device).type
    spec = EnumerableShardingSpec(
        [ShardMetadata(list(offsets), list(sizes), f"rank:{rank}/{kind}") for rank, offsets, sizes in shards]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and checkpoints and FSDP are still full of it
        made: ShardedTensor = sharded_tensor.empty(spec, *whole.shape, dtype=whole.dtype)
        for shard in made.local_shards():
            shard.tensor.copy_(_cut(whole, shard.metadata.shard_offsets, shard.metadata.shard_sizes))
    return made


def _cut(whole: torch.Tensor, offsets: Sequence[int], sizes: Sequence[int]) -> torch.Tensor:
    for dimension, (offset, size) in enumerate(zip(offsets, sizes, strict=True)):
        whole = whole.narrow(dimension, offset, size)
    return whole


def pieces(value: Any) -> list[torch.Tensor]:
    """Return the tensors that this rank holds of a plain tensor, a DTensor or a ShardedTensor; sharing their memory."""
    if isinstance(value, ShardedTensor):
        return [shard.tensor for shard in value.local_shards()]
    return [value.to_local() if isinstance(value, DTensor) else value]


def blanked(value: Any) -> Any:
    """Return the same object, every local element overwritten by -1, which no coded number is."""
    for piece in pieces(value):
        piece.fill_(-1)
    return value


def piece_differences(expected: Any, observed: Any, key: str) -> list[Difference]:
    """Return the differences between what this rank holds of two tensors of one layout."""
    return differences(pieces(expected), pieces(observed), key=key)


@contextlib.contextmanager
def own_groups() -> Iterator[None]:
    """Ends the process groups that were made inside, so that the ranks can be used again.

    After an error they stay: a peer may wait in one of them, and such a world is never used again.
    """
    before = set(_groups())
    yield
    if dist.is_initialized():
        dist.barrier()  # a peer that is still in a collective would see its connection closed
    for group in [group for group in _groups() if group not in before]:
        dist.destroy_process_group(group)


def _groups() -> list[Any]:
    world: Any = getattr(dist.distributed_c10d, "_world", None)  # private: there is no public list of groups
    return list(getattr(world, "pg_names", {})) if dist.is_initialized() else []
