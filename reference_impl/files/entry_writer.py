"""Writing entries one after another into one data file."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from typing import IO, Any

import torch

from dcp_conformance.reference_impl.files import checksum
from dcp_conformance.reference_impl.files.extensions import StreamTransform
from dcp_conformance.reference_impl.interchange import SavePlanner, StorageInfo, WriteItem, WriteItemType, WriteResult
from dcp_conformance.reference_impl.values.dtypes import unstorable


class EntryWriter:
    """Writes entries to a stream and notes where each lies and what its checksum is."""

    def __init__(self, stream: IO[bytes], relative_path: str, extensions: Sequence[StreamTransform] = ()) -> None:
        self._stream = stream
        self._path = relative_path
        self._extensions = extensions
        self._position = 0

    def write(self, item: WriteItem, planner: SavePlanner) -> WriteResult:
        """Store one item, resolved now. Raises TypeError naming a tensor that cannot be stored."""
        data = planner.resolve_data(item)
        tee = _Tee(self._stream, checksum.seed(item.index))
        out: Any = tee
        for transform in self._extensions:
            out = transform.transform_to(out)
        try:
            if item.type == WriteItemType.BYTE_IO:
                out.write(_all_bytes(data))
            else:
                torch.save(compact(item.index.fqn, data), out)
            # A transform holds bytes back until it is closed. The tee is not: the file takes more entries.
            if out is not tee:
                out.close()
        except BaseException as error:
            # torch reports a failed write of its stream as an error of its own; the cause is what has to be seen.
            if tee.error is not None and tee.error is not error:
                raise tee.error from None
            raise
        info = StorageInfo(self._path, self._position, tee.length, self._descriptors())
        self._position += tee.length
        return WriteResult(index=item.index, size_in_bytes=tee.length, storage_data=checksum.attach(info, tee.crc))

    def _descriptors(self) -> list[str] | None:
        return [transform.get_descriptor() for transform in reversed(self._extensions)] or None


#: Bytes from which on the CRC that torch.save computes anyway is used instead of a second pass over them.
_LARGE = 1 << 17
#: What follows a record of a zip file: this mark, the CRC of the record and its sizes.
_DESCRIPTOR = b"PK\x07\x08"


class _Tee(io.RawIOBase):
    """Passes bytes on and keeps their number and CRC. Closing it does not close the file, which holds more entries."""

    def __init__(self, stream: IO[bytes], seed: int) -> None:
        self._target = stream
        self._crc = seed
        self._record: Any = None
        self.length = 0
        self.error: BaseException | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        try:
            self._target.write(data)
        except BaseException as error:
            self.error = error
            raise
        size = len(data)
        if self._record is not None:
            self._count_record(data)
        if size >= _LARGE and isinstance(data, memoryview):
            self._record = data  # perhaps a record of torch.save: what comes next tells
        else:
            self._crc = zlib.crc32(data, self._crc)
        self.length += size
        return size

    @property
    def crc(self) -> int:
        """The CRC of all that was written, after the seed."""
        self._count_record(b"")
        return self._crc

    def _count_record(self, following: Any) -> None:
        if self._record is None:
            return
        record, self._record = self._record, None
        crc = _described(following, len(record))
        if crc is None:
            self._crc = zlib.crc32(record, self._crc)
        else:
            self._crc = checksum.combine(self._crc, crc, len(record))


def _described(data: Any, length: int) -> int | None:
    """Return the CRC in a zip data descriptor, if that describes a record of this length.

    torch may write 0 for none.
    """
    width = {16: 4, 24: 8}.get(len(data))
    if width is None or bytes(data[:4]) != _DESCRIPTOR:
        return None
    if int.from_bytes(data[-width:], "little") != length:
        return None
    return int.from_bytes(data[4:8], "little") or None


def _all_bytes(data: Any) -> Any:
    """Return the whole buffer of a BytesIO, wherever its position stands."""
    return data.getbuffer() if isinstance(data, io.BytesIO) else data


def compact(name: str, tensor: Any) -> torch.Tensor:
    """Return the logical elements of a tensor on the CPU, as a plain tensor that owns no more memory than they need."""
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{name!r} was planned as a tensor and resolved to a {type(tensor).__name__}")
    tensor = tensor.detach()
    if type(tensor) is not torch.Tensor:
        # A subclass would need its class, and an unsafe load, to be read again.
        tensor = tensor.as_subclass(torch.Tensor)
    reason = unstorable(tensor.dtype, tensor.layout) or ("it has no data (meta device)" if tensor.is_meta else None)
    if reason:
        raise TypeError(f"tensor {name!r} cannot be stored: {reason}")
    tensor = tensor.cpu().resolve_conj().resolve_neg()
    if tensor.untyped_storage().nbytes() != tensor.nbytes:
        # torch.save stores whole storages: of a small view of a large buffer it would write the buffer.
        tensor = tensor.clone(memory_format=torch.contiguous_format)
    plain: torch.Tensor = tensor
    return plain
