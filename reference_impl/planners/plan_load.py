"""The default load planner: from a template and a checkpoint's metadata to items to read, and values put in place."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed._shard.sharded_tensor import ShardedTensor
from torch.distributed.tensor import DTensor

from dcp_conformance.reference_impl.interchange import (
    BytesStorageMetadata,
    LoadPlan,
    LoadPlanner,
    Metadata,
    MetadataIndex,
    ReadItem,
    StateDict,
    TensorStorageMetadata,
)
from dcp_conformance.reference_impl.planners.legacy import legacy_sources, take_out
from dcp_conformance.reference_impl.values.boxes import narrow
from dcp_conformance.reference_impl.values.described import global_size
from dcp_conformance.reference_impl.values.dtypes import require_dtype
from dcp_conformance.reference_impl.values.flatten import Flat, Path, flatten, set_path, stored_structure
from dcp_conformance.reference_impl.values.objects import load_object
from dcp_conformance.reference_impl.values.read_items import object_read_item, tensor_read_items
from dcp_conformance.reference_impl.values.shards import chunk_list, find_part, is_tensor

logger = logging.getLogger("reference_impl")


class DefaultLoadPlanner(LoadPlanner):
    """Plans a load into existing values; extend it by overriding single methods, as described at ``LoadPlanner``.

    Nothing of the caller's is changed before the plan of every rank is known to be possible.

    Args:
        flatten_state_dict: the checkpoint was saved with this on (the default of both).
        flatten_sharded_tensors: accepted for compatibility; nested ShardedTensors are always understood.
        allow_partial_load: skip keys of the template that the checkpoint lacks instead of failing.
        strict_dtypes: refuse to load into a dtype that cannot hold every stored value (narrowing, complex to real);
            False converts with a warning.
        trusted: False refuses objects that need more than plain types; see ``reference_impl.values.objects``.
    """

    def __init__(
        self,
        flatten_state_dict: bool = True,
        flatten_sharded_tensors: bool = True,
        allow_partial_load: bool = False,
        *,
        strict_dtypes: bool = False,
        trusted: bool = True,
    ) -> None:
        self.flatten_state_dict = flatten_state_dict
        self.flatten_sharded_tensors = flatten_sharded_tensors
        self.allow_partial_load = allow_partial_load
        self.strict_dtypes = strict_dtypes
        self.trusted = trusted
        self.original_state_dict: StateDict = {}
        self.mappings: dict[str, Path] = {}

    def set_up_planner(
        self, state_dict: StateDict, metadata: Metadata | None = None, is_coordinator: bool = False
    ) -> None:
        """Bind the planner to a template and to the metadata of the checkpoint."""
        # Both are kept: values are found in the flat one and put back into the nested one that is the caller's.
        self.original_state_dict = state_dict
        self._empty_targets: dict[str, Path] = {}
        if self.flatten_state_dict:
            flat = flatten(state_dict)
            state_dict, self.mappings = flat.values, flat.paths
            self._warn_about_empty(flat, metadata)
        self.state_dict = state_dict
        self.metadata = metadata
        self.is_coordinator = is_coordinator

    def create_local_plan(self) -> LoadPlan:
        """Return the items that fill the template.

        Raises RuntimeError naming all missing keys, and ValueError or TypeError for a value of another kind, size or
        dtype, or of which the checkpoint holds only a part.
        """
        assert self.metadata is not None, "set_up_planner was given no metadata"
        self._find_legacy_and_empty()
        plan = local_load_plan(
            self._plannable(),
            self.metadata,
            strict=not self.allow_partial_load,
            strict_dtypes=self.strict_dtypes,
        )
        # Apart: each is one object for many keys, and no value of the template has its name.
        plan.items.extend(object_read_item(name) for name in self._legacy)
        return plan

    def create_global_plan(self, global_plan: list[LoadPlan]) -> list[LoadPlan]:
        """Return the plans as they are: nothing is decided centrally."""
        return global_plan

    def finish_plan(self, central_plan: LoadPlan) -> LoadPlan:
        """Accept the plan; from here on the caller's values may change: meta tensors get memory."""
        stored = self.metadata.state_dict_metadata if self.metadata is not None else {}
        wanted = {item.dest_index.fqn for item in central_plan.items}
        for name, value in list(self.state_dict.items()):
            # A rank without elements of a tensor reads nothing of it, and gets it back like the others all the same.
            if on_meta(value) and (name in wanted or name in stored):
                self._put(name, materialised(name, value))
        for path in self._empties().values():
            set_path(self.original_state_dict, path, {})
        return central_plan

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        """Deserialise an object and put it in the place of the old one."""
        name = read_item.dest_index.fqn
        loaded = load_object(name, value, trusted=self.trusted)
        if name in self._legacy_keys():
            for key, item in self._taken_out(loaded, name).items():
                self._put_legacy(key, item)
        else:
            # Replaced and not filled: an object has no memory that others could share.
            self._put(name, loaded)

    def resolve_tensor(self, read_item: ReadItem) -> torch.Tensor:
        """Return the view of the target that an item fills."""
        return self.transform_tensor(read_item, self.lookup_tensor(read_item.dest_index))

    def commit_tensor(self, read_item: ReadItem, tensor: torch.Tensor) -> None:
        """Do nothing: ``tensor`` is a view of the target."""

    def lookup_tensor(self, index: MetadataIndex) -> torch.Tensor:
        """Return the local tensor that an index refers to; override to look elsewhere."""
        if index.fqn not in self.state_dict:
            raise ValueError(f"there is no value called {index.fqn!r}")
        return find_part(self.state_dict[index.fqn], index)

    def transform_tensor(self, read_item: ReadItem, tensor: torch.Tensor) -> torch.Tensor:
        """Return the part of the local tensor that an item fills; override to load into something else."""
        return narrow(tensor, read_item.dest_offsets, read_item.lengths)

    # -- putting values in place ----------------------------------------------------------------------------------

    def _put(self, name: str, value: Any) -> None:
        self.state_dict[name] = value
        if self.flatten_state_dict:
            set_path(self.original_state_dict, self.mappings[name], value)
        else:
            self.original_state_dict[name] = value

    def _taken_out(self, blob: Any, name: str) -> StateDict:
        taken: StateDict = {}
        for key in self._legacy[name]:
            try:
                taken[key] = take_out(blob, name, key, self.mappings[key])
            except ValueError:
                if not self.allow_partial_load:
                    raise
        return taken

    def _put_legacy(self, name: str, value: Any) -> None:
        target = self.state_dict[name]
        # Nothing has checked this before: of a legacy object the metadata does not say what is in it.
        if is_tensor(target) != is_tensor(value):
            raise ValueError(f"{name!r} is {_kind(value)} in the checkpoint and {_kind(target)} in the template")
        if is_tensor(target):
            # Detached: an in-place copy into a leaf that requires grad is refused by autograd.
            target.detach().copy_(value)
        else:
            self._put(name, value)

    # -- checkpoints that store containers differently ---------------------------------------------------------------

    def _find_legacy_and_empty(self) -> None:
        assert self.metadata is not None
        self._legacy: dict[str, list[str]] = {}
        self._empty_targets = {}
        if not self.flatten_state_dict:
            return
        stored = self.metadata.state_dict_metadata
        missing = [name for name in self.state_dict if name not in stored]
        self._legacy = legacy_sources(missing, self.mappings, self.metadata)
        empty = stored_structure(self.metadata.planner_data)[1]
        self._empty_targets = {
            name: self.mappings[name] for name in missing if name in empty and not is_tensor(self.state_dict[name])
        }

    def _plannable(self) -> StateDict:
        elsewhere = {name for names in self._legacy.values() for name in names} | set(self._empty_targets)
        return {name: value for name, value in self.state_dict.items() if name not in elsewhere}

    def _legacy_keys(self) -> Iterable[str]:
        # A subclass may override create_local_plan, and then nothing has been looked for.
        return getattr(self, "_legacy", {})

    def _empties(self) -> dict[str, Path]:
        return getattr(self, "_empty_targets", {})

    def _warn_about_empty(self, flat: Flat, metadata: Metadata | None) -> None:
        """Say that a template without state of its own yet (a fresh optimizer) takes nothing."""
        for name in flat.empty if metadata is not None else ():
            # With the dot, or `model` would stand for `model2` as well.
            below = [key for key in metadata.state_dict_metadata if key.startswith(f"{name}.")]  # type: ignore[union-attr]
            if below:
                logger.warning("%r is empty in the template: %d stored values below it are left", name, len(below))


def local_load_plan(
    state_dict: StateDict, metadata: Metadata, *, strict: bool = True, strict_dtypes: bool = False
) -> LoadPlan:
    """Return the items that fill every value of a flat ``state_dict``.

    Keys that only the checkpoint has are left alone.
    """
    stored = metadata.state_dict_metadata
    missing = [name for name in state_dict if name not in stored]
    # All at once: a user with a wrong prefix wants to see that every key is missing.
    if missing and strict:
        raise RuntimeError(f"Missing key in checkpoint state_dict: {', '.join(map(str, missing))}.")
    unasked = stored.keys() - state_dict.keys()
    if missing or unasked:
        logger.info("load: not stored %s, not asked for %s", sorted(map(str, missing)), sorted(unasked))
    items: list[ReadItem] = []
    for name, value in state_dict.items():
        if name in stored:
            items.extend(_read_items(name, stored[name], value, strict_dtypes))
    return LoadPlan(items)


def _read_items(name: str, entry: Any, value: Any, strict_dtypes: bool) -> list[ReadItem]:
    # Kinds first: a tensor never stands in for an object, whatever its size is.
    if isinstance(entry, BytesStorageMetadata):
        if is_tensor(value):
            _take_object_for_tensor(name, value, strict=strict_dtypes)
        return [object_read_item(name)]
    if not isinstance(entry, TensorStorageMetadata):
        raise ValueError(f"the checkpoint's metadata is not valid: {name!r} is a {type(entry).__name__}")
    if not is_tensor(value):
        raise ValueError(f"{name!r} is a tensor in the checkpoint and a {type(value).__name__} in the template")
    size = global_size(value) if hasattr(value, "size") else entry.size
    if tuple(size) != tuple(entry.size):
        raise ValueError(f"Size mismatch for {name!r}: {tuple(entry.size)} is stored, the template has {tuple(size)}")
    if isinstance(getattr(value, "dtype", None), torch.dtype):
        require_dtype(name, entry.properties.dtype, value.dtype, strict=strict_dtypes)
    return tensor_read_items(name, entry, chunk_list(value))


def _take_object_for_tensor(name: str, value: Any, *, strict: bool) -> None:
    """Warn that an object takes the place of a plain tensor: an optimizer of old stored its step as a number."""
    text = f"{name!r} is an object in the checkpoint and a tensor in the template"
    if strict or type(value) not in (torch.Tensor, torch.nn.Parameter):
        raise ValueError(text)
    warnings.warn(f"{text}: the object takes its place", stacklevel=2)


def on_meta(value: Any) -> bool:
    """Tell whether a tensor has no memory on this rank, which has to be made before loading."""
    if isinstance(value, ShardedTensor):
        return any(on_meta(shard.tensor) for shard in value.local_shards())
    if isinstance(value, DTensor):
        return on_meta(value._local_tensor)
    return isinstance(value, torch.Tensor) and value.is_meta


def materialised(name: str, value: torch.Tensor) -> torch.Tensor:
    """Return a tensor with memory in place of one on the meta device. Raises RuntimeError for a ShardedTensor."""
    if isinstance(value, ShardedTensor):
        raise RuntimeError(f"{name!r} is a ShardedTensor on the meta device, which cannot be loaded into")
    if not isinstance(value, DTensor):
        return torch.empty_like(value, device=_group_device())
    # Where the mesh is and not where the tensor is, which on meta is nowhere.
    local = torch.empty_like(value.to_local(), device=_device_of(value.device_mesh.device_type))
    return DTensor.from_local(
        local, value.device_mesh, value.placements, run_check=False, shape=value.size(), stride=value.stride()
    )


def _group_device() -> torch.device:
    """Return where the default process group works: the accelerator in use, or the CPU."""
    if dist.is_available() and dist.is_initialized() and torch.accelerator.is_available():
        device = torch.accelerator.current_accelerator()
        if device is not None and "nccl" in dist.get_backend():
            return _device_of(device.type)
    return torch.device("cpu")


def _device_of(kind: str) -> torch.device:
    """Return the device of this kind that is in use."""
    return torch.device(kind) if kind == "cpu" else torch.device(kind, torch.accelerator.current_device_index())


def _kind(value: Any) -> str:
    return "a tensor" if is_tensor(value) else "an object"
