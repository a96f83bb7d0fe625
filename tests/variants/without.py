"""Storages that lack one capability of the record each, or all, say so, and refuse what they cannot do.

`without_<capability>` opts out of that one; `without_any` of all; `without_values` of everything about the values that
are stored and about ids that are taken, but not of ranks and of access to what is stored, so that the checks which
need these run. All but `without_torch_format` write in a format of their own, which is an opt-out too.
"""

from __future__ import annotations

import functools
import os
import threading
from typing import Any

import torch
from torch.distributed.checkpoint import Metadata
from torch.distributed.checkpoint.planner import WriteItemType

from dcp_conformance.harness.backend.blobs import Blobs, discard_path, file_blobs, path_below
from dcp_conformance.harness.backend.capabilities import CAPABILITIES
from dcp_conformance.harness.backend.record import Backend
from tests.variants import _store

_VALUES = ("objects", "exotic_dtypes", "layouts", "overwrite", "crash_safe_overwrite", "rank_local_metadata")
_COMMON = {
    torch.float32, torch.float64, torch.float16, torch.bfloat16,
    torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.bool,
}  # fmt: skip
_SHELF = "shelf:"  # ids that are no path: the store knows where its shelves stand


class Refused(RuntimeError):
    """What was asked for is among the things that the storage does not do."""


class Writer(_store.Writer):
    """Refuses what it lacks at the first call that shows that it is wanted."""

    def __init__(self, checkpoint_id: str | os.PathLike[str], *, lacks: frozenset[str] = frozenset()) -> None:
        super().__init__(_off_shelf(checkpoint_id))
        self.lacks, self.ranks, self._thread = lacks, 1, threading.get_ident()

    def __getstate__(self) -> dict[str, Any]:
        self.refuse("async_process", "a writer cannot be sent to another process")
        return dict(self.__dict__)

    def refuse(self, capability: str, why: str, *, when: bool = True) -> None:
        """Raise where a capability is wanted that is lacking."""
        if when and capability in self.lacks:
            raise Refused(f"{why} ({capability} is not supported)")

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        super().reset(_off_shelf(checkpoint_id) if checkpoint_id else None)

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        self.refuse("async_save", "used from another thread", when=threading.get_ident() != self._thread)
        super().set_up_storage_writer(is_coordinator, *args, **kwargs)
        self.refuse("rank_local_metadata", "ranks save together", when=self.alone)
        self._refuse_second()

    def prepare_local_plan(self, plan: Any) -> Any:
        for item in plan.items:
            name = item.index.fqn
            self.refuse("objects", f"{name} is no tensor", when=item.type is WriteItemType.BYTE_IO)
            dtype = item.tensor_data.properties.dtype if item.tensor_data is not None else None
            self.refuse("exotic_dtypes", f"{name} is {dtype}", when=dtype is not None and dtype not in _COMMON)
        return super().prepare_local_plan(plan)

    def prepare_global_plan(self, plans: list[Any]) -> list[Any]:
        self.refuse("multi_process", f"{len(plans)} ranks save together", when=len(plans) > 1)
        self.ranks = len(plans)
        return super().prepare_global_plan(plans)

    def written(self, plan: Any, planner: Any) -> Any:
        for item in plan.items:
            data = planner.resolve_data(item)
            if isinstance(data, torch.Tensor):
                plain = data.is_contiguous() and not data.is_conj() and not data.is_neg()
                self.refuse("layouts", f"{item.index.fqn} is a view of other memory", when=not plain)
        return super().written(plan, planner)

    def finish(self, metadata: Metadata, results: Any) -> None:
        self._refuse_second()
        old = self._taken_away() if "crash_safe_overwrite" in self.lacks else ()
        super().finish(metadata, results)
        for name in old:
            (self.root / name).unlink(missing_ok=True)

    def _taken_away(self) -> set[str]:
        """Take the commit away before the new one is there, and return what only it referred to."""
        old = self._objects_of(self.store(), self.commit_name())
        (self.root / self.commit_name()).unlink(missing_ok=True)
        return old

    def encode(self, metadata: Metadata) -> bytes:
        return b"%d\n" % self.ranks + super().encode(metadata)

    def decode(self, content: bytes) -> Metadata:
        return super().decode(content.partition(b"\n")[2])

    def _refuse_second(self) -> None:
        present = self.store().names() if self.root.exists() else []
        # With rank-local metadata the other ranks of the same save may have committed theirs already.
        taken = self.commit_name() in present or "commit" in present or (bool(present) and not self.alone)
        self.refuse("overwrite", f"{self.root} exists and holds a checkpoint", when=taken)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        return _store.usable(_off_shelf(checkpoint_id))


class Reader(_store.Reader):
    """Refuses other ranks and other pieces than were saved, where it lacks resharding."""

    def __init__(self, checkpoint_id: str | os.PathLike[str], *, lacks: frozenset[str] = frozenset()) -> None:
        super().__init__(_off_shelf(checkpoint_id))
        self.lacks, self.ranks, self.alone = lacks, 1, False

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        super().reset(_off_shelf(checkpoint_id) if checkpoint_id else None)

    def decode(self, content: bytes) -> Metadata:
        ranks, _, rest = content.partition(b"\n")
        self.ranks = int(ranks)
        return super().decode(rest)

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        self.alone = not kwargs.get("use_collectives", True)
        super().set_up_storage_reader(metadata, is_coordinator, *args, **kwargs)

    def prepare_local_plan(self, plan: Any) -> Any:
        for item in plan.items:
            index = item.storage_index
            stored = self.metadata.state_dict_metadata[index.fqn] if self.metadata is not None else None
            whole = {chunk.sizes for chunk in getattr(stored, "chunks", ())} if any(item.lengths) else set()
            if "resharding" in self.lacks and whole and item.lengths not in whole:
                raise Refused(f"{index.fqn} was saved in other pieces (resharding is not supported)")
        return super().prepare_local_plan(plan)

    def prepare_global_plan(self, plans: list[Any]) -> list[Any]:
        if "multi_process" in self.lacks and len(plans) > 1:
            raise Refused(f"{len(plans)} ranks load together (multi_process is not supported)")
        if "resharding" in self.lacks and not self.alone and len(plans) != self.ranks:
            raise Refused(f"saved by {self.ranks} ranks, wanted by {len(plans)} (resharding is not supported)")
        return super().prepare_global_plan(plans)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        return _store.usable(_off_shelf(checkpoint_id))


def _off_shelf(checkpoint_id: str | os.PathLike[str]) -> str | os.PathLike[str]:
    return checkpoint_id.removeprefix(_SHELF) if isinstance(checkpoint_id, str) else checkpoint_id


def _on_shelf(scratch: str, name: str) -> str:
    return _SHELF + path_below(scratch, name)


def _no_blobs(checkpoint_id: str) -> Blobs:
    raise LookupError(f"nobody but the store sees what is at {checkpoint_id}")


def _blobs(checkpoint_id: str) -> Blobs:
    return file_blobs(checkpoint_id.removeprefix(_SHELF))


def _discard(checkpoint_id: str) -> bool:
    return discard_path(checkpoint_id.removeprefix(_SHELF))


def without(name: str, *capabilities: str) -> Backend:
    """Return the storage that lacks these capabilities, and what cannot be without them."""
    lacks = frozenset(capabilities)
    implied = {"overwrite": ("crash_safe_overwrite",), "async_save": ("async_process",)}
    lacks |= {other for capability in lacks for other in implied.get(capability, ())}
    return Backend(
        name=name,
        writer=functools.partial(Writer, lacks=lacks),
        reader=functools.partial(Reader, lacks=lacks),
        new_checkpoint_id=_on_shelf if "local_files" in lacks else path_below,
        blobs=_no_blobs if "stored_bytes" in lacks else _blobs,
        discard=_discard,
        unsupported={**_store.UNSUPPORTED, **{item: f"made without {item}" for item in sorted(lacks)}},
    )


BACKENDS = {
    **{f"without_{capability}": without(f"without_{capability}", capability) for capability in CAPABILITIES},
    "without_any": without("without_any", *CAPABILITIES),
    "without_values": without("without_values", *_VALUES),
}
globals().update(BACKENDS)
