"""A tensor on memory of ours, made through DLPack: the one door by which Python may bring its own memory to torch."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable

import torch

#: DLPack's numbers of devices; torch takes `EXTENSION` for its PrivateUse1.
CPU, EXTENSION = 1, 12


class _Device(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_int32), ("index", ctypes.c_int32)]


class _Type(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p), ("device", _Device), ("dimensions", ctypes.c_int32), ("type", _Type),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("offset", ctypes.c_uint64),
    ]  # fmt: skip


class _Managed(ctypes.Structure):
    _fields_ = [("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p)]


class _Block(ctypes.Structure):
    """What DLPack wants, and what it points to, in one piece of memory."""

    _fields_ = [("managed", _Managed), ("shape", ctypes.c_int64), ("strides", ctypes.c_int64)]


_libc = ctypes.CDLL(None)
_libc.malloc.restype, _libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
_FREE = ctypes.cast(_libc.free, ctypes.c_void_p)
_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype, _new_capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_BYTE = _Type(1, 8, 1)


def bytes_at(address: int, count: int, *, kind: int, index: int, freed: Callable[[], None]) -> torch.Tensor:
    """Return a tensor of `count` bytes at `address`; `freed` is called once torch has let its storage go.

    The deleter that DLPack asks for is C's free: one in Python would run while an exception is on its way, and lose it.
    """
    place = _libc.malloc(ctypes.sizeof(_Block))
    block = _Block.from_address(place)
    block.shape, block.strides = count, 1
    longs = ctypes.POINTER(ctypes.c_int64)
    shape = ctypes.cast(place + _Block.shape.offset, longs)
    strides = ctypes.cast(place + _Block.strides.offset, longs)
    tensor = _Tensor(address, _Device(kind, index), 1, _BYTE, shape, strides, 0)
    block.managed = _Managed(tensor, None, _FREE)
    made: torch.Tensor = torch._C._from_dlpack(_new_capsule(place, b"dltensor", None))
    # torch keeps a storage's Python object for as long as the storage.
    weakref.finalize(made.untyped_storage(), freed).atexit = False
    return made
