"""A tensor on memory of ours, made through DLPack: the one door by which Python may bring its own memory to torch."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import torch

CPU, EXTENSION = 1, 12
"""DLPack's numbers of devices; torch takes `EXTENSION` for its PrivateUse1."""


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


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = [("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter)]


_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype, _new_capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_BYTE = _Type(1, 8, 1)
_held: dict[int, tuple[Any, Callable[[], None]]] = {}
"""Address of what was handed to torch -> what must outlive the tensor, and whom its end is told."""


def _end(address: int) -> None:
    _keeper, tell = _held.pop(address)
    tell()


_ended = _Deleter(_end)


def bytes_at(address: int, count: int, *, kind: int, index: int, freed: Callable[[], None]) -> torch.Tensor:
    """A tensor of `count` bytes at `address`; `freed` is called once torch has let its storage go."""
    shape, strides = (ctypes.c_int64 * 1)(count), (ctypes.c_int64 * 1)(1)
    managed = _Managed(_Tensor(address, _Device(kind, index), 1, _BYTE, shape, strides, 0), None, _ended)
    place = ctypes.addressof(managed)
    _held[place] = ((managed, shape, strides), freed)
    made: torch.Tensor = torch._C._from_dlpack(_new_capsule(place, b"dltensor", None))
    return made
