"""Where the elements of a tensor lie within a stored entry.

An entry is a complete torch.save archive. It pays to know where in it the record with the elements is, so that they can
be read straight into place. Anything unusual (another byte order, more than one tensor, a class of its own) gives None,
and the entry is then loaded whole by torch.
"""

from __future__ import annotations

import functools
import io
import pickle
import sys
import zlib
from dataclasses import dataclass
from typing import Any

import torch

from dcp_conformance.reference_impl.errors import CorruptCheckpointError
from dcp_conformance.reference_impl.files.zip_records import Read, find_records, is_archive
from dcp_conformance.reference_impl.values.pickle_bounds import require_bounded

_OWN_ORDER = sys.byteorder.encode()


@dataclass(frozen=True)
class TensorLayout:
    """A tensor within an entry."""

    dtype: torch.dtype
    size: tuple[int, ...]
    stride: tuple[int, ...]
    first: int
    #: Where its record begins: bytes, counted from the start of the entry.
    start: int
    #: Of the record, in bytes.
    length: int
    crc: int

    @property
    def contiguous(self) -> bool:
        """Whether the record is exactly the elements in row-major order."""
        # torch's own question needs a tensor, and there is none yet.
        expected = 1
        for n, step in zip(reversed(self.size), reversed(self.stride), strict=True):
            if n != 1 and step != expected:
                return False
            expected *= n
        return self.first == 0 and self.length == expected * self.dtype.itemsize

    def over(self, data: torch.Tensor) -> torch.Tensor:
        """Return the tensor over its record's bytes (a uint8 tensor)."""
        return data.view(self.dtype).as_strided(self.size, self.stride, self.first)


def find_tensor(read: Read, length: int) -> TensorLayout | None:
    """Return the layout of the entry that ``read`` gives, or None where it is not one plain tensor.

    Raises CorruptCheckpointError where it is an archive that torch.save would not write.
    """
    if not is_archive(read, length):
        return None
    records = find_records(read, length)
    described = records.get("data.pkl")
    order = records.get("byteorder")
    # Elements in another byte order cannot be read into place; torch knows how to turn them.
    if described is None or (order is not None and bytes(read(order.start, order.length)) != _OWN_ORDER):
        return None
    description = bytes(read(described.start, described.length))
    # Checked apart: a flipped bit here changes shape or dtype, and the elements would still have their own right CRC.
    if described.crc and zlib.crc32(description) != described.crc:
        raise CorruptCheckpointError("the CRC of its description does not match")
    tensor = _described_tensor(description)
    record = None if tensor is None else records.get(f"data/{tensor.storage.key}")
    # A view that reaches beyond its record would read what lies behind it.
    if tensor is None or record is None or tensor.needed_bytes() > record.length:
        return None
    return TensorLayout(tensor.dtype, tensor.size, tensor.stride, tensor.first, record.start, record.length, record.crc)


def check_records(read: Read, length: int) -> None:
    """Raise CorruptCheckpointError where a record of an archive does not have the CRC that torch.save noted for it."""
    for name, record in find_records(read, length).items():
        if record.crc and zlib.crc32(read(record.start, record.length)) != record.crc:
            raise CorruptCheckpointError(f"the CRC of its record {name!r} does not match")


@functools.lru_cache(maxsize=256)  # the layers of a model are described by few different pickles
def _described_tensor(data: bytes) -> _Tensor | None:
    try:
        # First: a pickle of a few bytes can ask for gigabytes before any class is looked up.
        require_bounded(data)
        found = _TensorUnpickler(io.BytesIO(data)).load()
    except (pickle.UnpicklingError, KeyError, ValueError, EOFError, TypeError, AttributeError, IndexError):
        return None  # torch's own loader decides whether this is damage
    return found if isinstance(found, _Tensor) else None


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: torch.dtype | None


@dataclass(frozen=True)
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
        # Names only: nothing of torch is called, so no pickle can make it do anything.
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
