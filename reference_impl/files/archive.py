"""Where the elements of a tensor lie within a stored entry.

An entry is a complete torch.save archive: a zip file with uncompressed records. For large entries it pays to know where
the record with the elements is, so that they can be read straight into place. Anything unusual (compression, another
byte order, more than one tensor) gives None, and the entry is then loaded whole by torch.
"""

from __future__ import annotations

import io
import pickle
import struct
import sys
import zipfile
from dataclasses import dataclass
from typing import Any, Protocol

import torch

_LOCAL_HEADER = 30


@dataclass(frozen=True)
class TensorLayout:
    """A tensor within an entry. ``start`` and ``length`` are bytes, counted from the start of the entry."""

    dtype: torch.dtype
    size: tuple[int, ...]
    stride: tuple[int, ...]
    first: int
    start: int
    length: int
    crc: int

    @property
    def contiguous(self) -> bool:
        """Whether the record is exactly the elements in row-major order."""
        expected = 1
        for n, step in zip(reversed(self.size), reversed(self.stride), strict=True):
            if n != 1 and step != expected:
                return False
            expected *= n
        return self.first == 0 and self.length == expected * self.dtype.itemsize

    def over(self, data: torch.Tensor) -> torch.Tensor:
        """The tensor over its record's bytes (a uint8 tensor)."""
        return data.view(self.dtype).as_strided(self.size, self.stride, self.first)


class Readable(Protocol):
    """Something that is read in ranges: a file, or bytes in memory."""

    def read_into(self, target: memoryview, offset: int) -> None:
        """Fill ``target`` with the bytes at ``offset``."""

    def read(self, offset: int, length: int) -> bytearray:
        """The ``length`` bytes at ``offset``."""


@dataclass(frozen=True)
class Memory:
    """Bytes in memory, read like a file."""

    data: bytes | bytearray

    def read_into(self, target: memoryview, offset: int) -> None:
        target[:] = self.data[offset : offset + len(target)]

    def read(self, offset: int, length: int) -> bytearray:
        return bytearray(self.data[offset : offset + length])


def find_tensor(blob: Readable, offset: int, length: int) -> TensorLayout | None:
    """The layout of the entry at ``offset``, or None where it is not one plain tensor."""
    try:
        return _layout(blob, offset, length)
    except (zipfile.BadZipFile, pickle.UnpicklingError, KeyError, ValueError, EOFError, struct.error, AttributeError):
        return None  # torch's own loader decides whether this is damage


def _layout(blob: Readable, offset: int, length: int) -> TensorLayout | None:
    view = io.BufferedReader(_Range(blob, offset, length), 1 << 14)
    with zipfile.ZipFile(view) as archive:
        records = {info.filename.split("/", 1)[-1]: info for info in archive.infolist()}
        if any(info.compress_type != zipfile.ZIP_STORED for info in records.values()):
            return None
        order = archive.read(records["byteorder"]) if "byteorder" in records else b"little"
        tensor = _TensorUnpickler(io.BytesIO(archive.read(records["data.pkl"]))).load()
        if order.decode() != sys.byteorder or not isinstance(tensor, _Tensor):
            return None
        record = records[f"data/{tensor.storage.key}"]
    header = blob.read(offset + record.header_offset, _LOCAL_HEADER)
    name_length, extra_length = struct.unpack_from("<HH", header, 26)
    start = record.header_offset + _LOCAL_HEADER + name_length + extra_length
    if start + record.file_size > length or tensor.needed_bytes() > record.file_size:
        return None
    return TensorLayout(tensor.dtype, tensor.size, tensor.stride, tensor.first, start, record.file_size, record.CRC)


class _Range(io.RawIOBase):
    """A range of a file as a file."""

    def __init__(self, blob: Readable, offset: int, length: int) -> None:
        self._blob, self._offset, self._length, self._position = blob, offset, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        base = {0: 0, 1: self._position, 2: self._length}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, target: Any, /) -> int:
        count = max(0, min(len(target), self._length - self._position))
        self._blob.read_into(memoryview(target)[:count], self._offset + self._position)
        self._position += count
        return count


@dataclass
class _Storage:
    key: str
    dtype: torch.dtype | None


@dataclass
class _Tensor:
    storage: _Storage
    dtype: torch.dtype
    size: tuple[int, ...]
    stride: tuple[int, ...]
    first: int

    def needed_bytes(self) -> int:
        if 0 in self.size:
            return 0
        last = self.first + sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True))
        return (last + 1) * self.dtype.itemsize


#: The typed storages that torch.save names; their own ``dtype`` warns of being deprecated.
_STORAGE_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}


class _TensorUnpickler(pickle.Unpickler):
    """Reads what torch.save writes for one tensor, without making the tensor."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch._utils" and name == "_rebuild_tensor_v2":
            return _rebuild_v2
        if module == "torch._utils" and name == "_rebuild_tensor_v3":
            return _rebuild_v3
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module == "torch" and name in _STORAGE_DTYPES:
            return _STORAGE_DTYPES[name]
        if (module, name) == ("torch.storage", "UntypedStorage"):
            return None
        if module == "torch" and isinstance(getattr(torch, name), torch.dtype):
            return getattr(torch, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not part of a plain tensor")

    def persistent_load(self, pid: Any) -> Any:
        kind, dtype, key, _, _ = pid
        if kind != "storage":
            raise pickle.UnpicklingError("not a storage")
        return _Storage(str(key), dtype)


def _rebuild_v2(storage: _Storage, first: int, size: Any, stride: Any, *_: Any) -> _Tensor:
    if not isinstance(storage.dtype, torch.dtype):
        raise pickle.UnpicklingError("an untyped storage without a dtype")
    return _Tensor(storage, storage.dtype, tuple(size), tuple(stride), first)


def _rebuild_v3(
    storage: _Storage, first: int, size: Any, stride: Any, _grad: Any, _hooks: Any, dtype: torch.dtype, *_: Any
) -> _Tensor:
    return _Tensor(storage, dtype, tuple(size), tuple(stride), first)
