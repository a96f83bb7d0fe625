"""Tensors of a combination: what they hold, how they lie in memory, and targets that notice a write beside them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from dcp_conformance.harness.states.known_formats import known_format
from dcp_conformance.harness.states.model import FORMATS
from dcp_conformance.harness.states.values import other_bits, pattern, resolved

# Bytes that a text mode translates.
_TEXT = b"line\r\nnext\n\x1a\t\r{}\xef\xbb\xbf"
# Elements before and after a view that lies inside a larger memory; odd, so that nothing is aligned.
_MARGIN = 11
# The one NaN, as bits, whose negative is the same however torch makes it: by the sign alone, or, where memory has gaps,
# by way of float, which quiets a NaN of float16 and makes every one of bfloat16 0x7fc0.
_SURE_NAN = {torch.float16: -0x0200, torch.bfloat16: -0x0040}


def rearranged(tensor: torch.Tensor) -> torch.Tensor:
    """Return the elements in reverse order, in memory of their own."""
    elements = resolved(tensor.detach()).reshape(-1)
    raw = elements.view(torch.uint8).reshape(elements.numel(), elements.element_size())
    return raw.flip(0).reshape(-1).view(tensor.dtype).reshape(tensor.shape)


def touched(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy of which the element in the middle has another bit."""
    elements = resolved(tensor.detach()).reshape(-1).clone()
    if elements.numel():
        elements.view(torch.uint8)[elements.numel() // 2 * elements.element_size()] ^= 1
    return elements.reshape(tensor.shape)


def content(kind: str, name: str, shape: tuple[int, ...], dtype: torch.dtype, version: int) -> torch.Tensor:
    """Return a dense tensor with a content of the model's CONTENT, or one of its FORMATS."""
    if kind in ("noise", "like its neighbours"):
        return pattern(name if kind == "noise" else "alike", shape, dtype, version=version)
    if kind == "counting":
        return ((torch.arange(math.prod(shape)) + version) % 100).to(dtype).reshape(shape)
    if kind == "zeros":
        return torch.zeros(shape, dtype=dtype)
    size = math.prod(shape) * dtype.itemsize
    if kind in FORMATS:
        return _of_bytes(known_format(kind, size), shape, dtype)
    repeated = b"\xff" if kind == "ones" else _TEXT
    return _of_bytes((repeated * (size // len(repeated) + 1))[:size], shape, dtype)


def _of_bytes(held: bytes, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    raw = torch.frombuffer(bytearray(held), dtype=torch.uint8) if held else torch.empty(0, dtype=torch.uint8)
    if dtype == torch.bool:
        return raw.bitwise_and(1).to(torch.bool).reshape(shape)
    return raw.view(dtype).reshape(shape)


def laid(base: torch.Tensor, how: str) -> torch.Tensor:
    """Return a tensor that lies in memory as the model's MEMORY says.

    Its elements are those of `base`, but for lazy views.
    """
    if how == "slice":
        return _inside(base, math.prod(base.shape) + 2 * _MARGIN)[1]
    if how == "parameter":
        return torch.nn.Parameter(base.clone())
    if how == "transposed":
        return base.transpose(0, -1).contiguous().transpose(0, -1)
    if how == "every other":
        return _gapped(base)[1]
    if how == "expanded":
        return base.narrow(0, 0, min(1, base.shape[0])).clone().expand(base.shape)
    if how == "conjugated":
        return base.clone().conj()
    return torch._neg_view(_negatable(base)) if how == "negated" else base.clone()


def _negatable(base: torch.Tensor) -> torch.Tensor:
    """Return the same elements in memory of their own, with no NaN of half precision whose negative nobody can tell."""
    if base.dtype == torch.complex32:
        return torch.view_as_complex(_negatable(torch.view_as_real(base)))
    if base.dtype not in _SURE_NAN:
        return base.clone()
    bits = base.view(torch.int16)
    return torch.where(base.isnan(), torch.tensor(_SURE_NAN[base.dtype], dtype=torch.int16), bits).view(base.dtype)


def sharing(base: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(whole, part): a memory and a part of it that holds what `base` does."""
    return _inside(base, math.prod(base.shape) + 2 * _MARGIN)


def _inside(base: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    memory = pattern("around", (size,), base.dtype)
    part = memory[_MARGIN : _MARGIN + base.numel()].view(base.shape)
    part.copy_(base)
    return memory, part


def _gapped(base: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    memory = pattern("gaps", (*base.shape[:-1], 2 * base.shape[-1]), base.dtype)
    part = memory[..., ::2]
    part.copy_(base)
    return memory, part


@dataclass(frozen=True, kw_only=True)
class Target:
    """A tensor to load into, every bit of it wrong, inside a memory of which a load may change nothing else."""

    tensor: torch.Tensor
    memory: torch.Tensor
    before: torch.Tensor

    def outside_changed(self) -> bool:
        """Tell whether elements of the memory that are not the target's are other than before."""
        now = self.memory.detach().clone()
        part = now.as_strided(self.tensor.shape, self.tensor.stride(), self.tensor.storage_offset())
        part.copy_(self.before.as_strided(part.shape, part.stride(), part.storage_offset()))
        return not torch.equal(_raw(now), _raw(self.before))


def target_like(value: torch.Tensor, *, strided: bool) -> Target:
    """Return a target for what was saved as `value`. strided: not contiguous, with gaps between its elements."""
    wrong = other_bits(resolved(value.detach()))
    if isinstance(value, torch.nn.Parameter):
        leaf = torch.nn.Parameter(wrong)
        return Target(tensor=leaf, memory=leaf, before=wrong.clone())
    memory, part = _gapped(wrong) if strided and wrong.dim() else _inside(wrong, wrong.numel() + 2 * _MARGIN)
    return Target(tensor=part, memory=memory, before=memory.clone())


def _raw(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().view(torch.uint8) if tensor.dim() else tensor.reshape(1).view(torch.uint8)
