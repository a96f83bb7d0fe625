"""Reading one stored entry: checked against its file's size, read once whatever is wanted of it, and verified.

A small entry is read whole. Of a large one the elements are read straight into the target where that is possible (one
pass over the bytes, no copy); else into memory once; and where only a small part is wanted, that part is copied out of
a mapped file, so that memory is bounded by what is asked for. Entries of an unusual shape are decoded by torch.
"""

from __future__ import annotations

import ctypes
import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dcp_conformance.reference_impl.errors import CorruptCheckpointError
from dcp_conformance.reference_impl.files import checksum
from dcp_conformance.reference_impl.files.archive import Memory, TensorLayout, find_tensor
from dcp_conformance.reference_impl.files.local_files import LocalBlob
from dcp_conformance.reference_impl.interchange import LoadItemType, LoadPlanner, MetadataIndex, ReadItem, StorageInfo
from dcp_conformance.reference_impl.values.boxes import narrow
from dcp_conformance.reference_impl.values.dtypes import holds_every_value

#: Entries up to this size are read whole, with one read; finding the elements first takes several.
_SMALL = 1 << 18
#: Bytes read and verified at a time; fits the CPU's cache, so verifying does not wait for memory.
_WINDOW = 1 << 20


@dataclass(frozen=True)
class EntryReader:
    """One entry in an open file. ``verify`` False skips the checksum."""

    blob: LocalBlob
    index: MetadataIndex
    info: StorageInfo
    verify: bool

    def __post_init__(self) -> None:
        """Raises CorruptCheckpointError for a range outside of the file, before any memory is taken for it."""
        offset, length = self.info.offset, self.info.length
        if offset < 0 or length < 0 or offset + length > self.blob.size:
            raise CorruptCheckpointError(
                f"{self.what}: bytes {offset} to {offset + length} are outside of the file's {self.blob.size} bytes"
            )

    @property
    def what(self) -> str:
        place = "" if self.index.offset is None else f" at offset {tuple(self.index.offset)}"
        return f"the entry {self.index.fqn!r}{place} in the file {self.blob.name!r}"

    def serve(self, requests: Sequence[ReadItem], planner: LoadPlanner, decode: Any = None) -> None:
        """Give the planner what it asked for of this entry. ``decode`` undoes a stream transform."""
        objects = [request for request in requests if request.type == LoadItemType.BYTE_IO]
        tensors = [request for request in requests if request.type != LoadItemType.BYTE_IO]
        for request in objects:
            planner.load_bytes(request, io.BytesIO(self._decoded(decode)))
        if not tensors:
            return
        layout = None
        if decode is None and self.info.length > _SMALL:
            layout = find_tensor(self.blob, self.info.offset, self.info.length)
        if layout is None:
            source = self._loaded(self._decoded(decode))
            self._fill_all(tensors, planner, source)
        else:
            self._serve_large(tensors, planner, layout)

    # -- small entries -----------------------------------------------------------------------------------------------

    def _decoded(self, decode: Any) -> bytes | bytearray:
        data = bytearray(self.info.length)
        self._read(memoryview(data))
        return data if decode is None else decode(data)

    def _loaded(self, data: bytes | bytearray) -> torch.Tensor:
        layout = find_tensor(Memory(data), 0, len(data))
        if layout is not None:
            payload = memoryview(data)[layout.start : layout.start + layout.length]
            if checksum.stored(self.info) is None:
                self._require_record(layout, zlib.crc32(payload))
            copied = torch.empty(layout.length, dtype=torch.uint8, device="cpu")
            memory_of(copied)[:] = payload
            return layout.over(copied)
        self._check_records(data)
        try:
            tensor = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise CorruptCheckpointError(f"{self.what} cannot be read as a tensor ({reason})") from error
        if not isinstance(tensor, torch.Tensor):
            raise CorruptCheckpointError(f"{self.what} holds a {type(tensor).__name__}, not a tensor")
        return tensor

    def _check_records(self, data: bytes | bytearray) -> None:
        """Entries without a checksum of ours: verify the CRC that torch.save notes per record (0: switched off)."""
        if not self.verify or checksum.stored(self.info) is not None:
            return
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                for record in archive.infolist():
                    if record.CRC:
                        archive.read(record)
        except zipfile.BadZipFile as error:
            raise CorruptCheckpointError(f"{self.what} is damaged: {error}") from error

    # -- large entries -----------------------------------------------------------------------------------------------

    def _serve_large(self, requests: list[ReadItem], planner: LoadPlanner, layout: TensorLayout) -> None:
        first = requests[0]
        if len(requests) == 1 and layout.contiguous and tuple(first.lengths) == layout.size:
            target = planner.resolve_tensor(first).detach()
            if _takes_bytes(target, layout):
                self._read_around(layout, memory_of(target))
                _bump_version(target)
            else:
                self._fill(first, target, self._payload(layout), planner)
            planner.commit_tensor(first, target)
            return
        wanted = sum(request.lengths.numel() for request in requests) * layout.dtype.itemsize
        mapped = None if wanted * 2 > layout.length else self._mapped(layout)
        self._fill_all(requests, planner, self._payload(layout) if mapped is None else mapped)

    def _payload(self, layout: TensorLayout) -> torch.Tensor:
        data = torch.empty(layout.length, dtype=torch.uint8, device="cpu")
        self._read_around(layout, memory_of(data))
        return layout.over(data)

    def _mapped(self, layout: TensorLayout) -> torch.Tensor | None:
        window = self.blob.mapped(self.info.offset + layout.start, layout.length)
        if window is None:
            return None
        if self.verify:
            self._read_around(layout, None)
        data = torch.frombuffer(window, dtype=torch.uint8)
        return layout.over(data) if data.data_ptr() % layout.dtype.itemsize == 0 else None

    # -- reading and verifying -----------------------------------------------------------------------------------------

    def _read(self, target: memoryview) -> None:
        crc = self._stream(0, target, checksum.seed(self.index))
        self._require(crc)

    def _read_around(self, layout: TensorLayout, payload: memoryview | None) -> None:
        """Read the whole entry, its elements into ``payload`` (nowhere, if None) and the rest into a scratch buffer."""
        scratch = memoryview(bytearray(_WINDOW))
        crc = checksum.seed(self.index)
        own = checksum.stored(self.info) is not None
        if own and self.verify:
            crc = self._skim(0, layout.start, scratch, crc)
        record = crc if own else 0
        if payload is None:
            record = self._skim(layout.start, layout.length, scratch, record)
        else:
            record = self._stream(layout.start, payload, record)
        if not own:
            self._require_record(layout, record)
        elif self.verify:
            end = layout.start + layout.length
            self._require(self._skim(end, self.info.length - end, scratch, record))

    def _stream(self, start: int, target: memoryview, crc: int) -> int:
        for done in range(0, len(target), _WINDOW):
            window = target[done : done + _WINDOW]
            self.blob.read_into(window, self.info.offset + start + done)
            if self.verify:
                crc = zlib.crc32(window, crc)
        return crc

    def _skim(self, start: int, length: int, scratch: memoryview, crc: int) -> int:
        for done in range(0, length, _WINDOW):
            crc = self._stream(start + done, scratch[: min(_WINDOW, length - done)], crc)
        return crc

    def _require_record(self, layout: TensorLayout, crc: int) -> None:
        """Of an entry without a checksum of ours: the CRC that torch.save notes (0: it was told not to)."""
        if self.verify and layout.crc and crc != layout.crc:
            raise CorruptCheckpointError(f"{self.what} is damaged: the CRC of its elements does not match")

    def _require(self, crc: int) -> None:
        if self.verify:
            checksum.require(checksum.stored(self.info), crc, self.what)

    # -- filling targets -----------------------------------------------------------------------------------------------

    def _fill_all(self, requests: list[ReadItem], planner: LoadPlanner, source: torch.Tensor) -> None:
        for request in requests:
            target = planner.resolve_tensor(request).detach()
            self._fill(request, target, source, planner)
            planner.commit_tensor(request, target)

    def _fill(self, request: ReadItem, target: torch.Tensor, source: torch.Tensor, planner: LoadPlanner) -> None:
        ends = [o + n for o, n in zip(request.storage_offsets, request.lengths, strict=True)]
        if len(ends) != source.dim() or any(end > n for end, n in zip(ends, source.size(), strict=True)):
            raise CorruptCheckpointError(
                f"{self.what} has size {tuple(source.size())}; the part up to {tuple(ends)} is not in it"
            )
        part = narrow(source, request.storage_offsets, request.lengths)
        if target.size() != part.size():
            raise ValueError(f"{self.what}: the target has size {tuple(target.size())}, needed is {tuple(part.size())}")
        lossy = getattr(planner, "allow_lossy_conversion", False)
        if not lossy and not holds_every_value(target.dtype, part.dtype):
            raise TypeError(
                f"{self.index.fqn!r} is stored as {part.dtype}, and {target.dtype} cannot hold all its values; set "
                "allow_lossy_conversion on the load planner to load it all the same"
            )
        target.copy_(part)


def memory_of(tensor: torch.Tensor) -> memoryview:
    """The bytes of a contiguous CPU tensor, writable."""
    size = tensor.numel() * tensor.element_size()
    if size == 0:
        return memoryview(bytearray())
    return memoryview((ctypes.c_char * size).from_address(tensor.data_ptr())).cast("B")


def _takes_bytes(target: torch.Tensor, layout: TensorLayout) -> bool:
    """Whether the stored bytes are, one by one, the bytes of this target."""
    return (
        type(target) is torch.Tensor
        and target.device.type == "cpu"
        and target.layout == torch.strided
        and target.dtype == layout.dtype
        and tuple(target.size()) == layout.size
        and target.is_contiguous()
        and not target.is_conj()
        and not target.is_neg()
    )


def _bump_version(target: torch.Tensor) -> None:
    """Tell autograd that the tensor changed, as an in-place operation would."""
    if not target.is_inference():
        torch.autograd.graph.increment_version(target)
