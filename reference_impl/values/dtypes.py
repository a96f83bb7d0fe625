"""Which tensors can be stored, and which dtype can take the values of which other without loss."""

from __future__ import annotations

import functools
import re
import warnings
from typing import Any

import torch
from torch.distributed._shard.sharded_tensor import ShardedTensor
from torch.distributed.tensor import DTensor

from dcp_conformance.reference_impl.values.shards import in_mesh, local_part

#: Sub-byte integers, raw bits and quantized types: torch.save or copying does not keep their values.
_UNSTORABLE = re.compile(r"torch\.(u?int[1-7]|bits\w+|qu?int\w+)$")


def refuse_unstorable(name: str, value: Any) -> None:
    """Raise TypeError naming the key where a tensor's dtype, layout or device cannot be stored."""
    if not isinstance(value, torch.Tensor):
        return
    if isinstance(value, ShardedTensor):
        for shard in value.local_shards():
            refuse_unstorable(name, shard.tensor)
        return
    if isinstance(value, DTensor):
        if not in_mesh(value):
            return
        value = local_part(value)
    reason = unstorable(value.dtype, value.layout)
    if value.is_nested:
        reason = "it is a nested tensor"
    elif value.is_meta:
        reason = "it is on the meta device and has no data"
    if reason:
        raise TypeError(f"tensor {name!r} cannot be stored: {reason}")


def unstorable(dtype: torch.dtype, layout: torch.layout) -> str | None:
    """Return why a tensor of this dtype and layout cannot be stored, or None."""
    if layout != torch.strided:
        return f"its layout is {layout}, only torch.strided is supported"
    if _UNSTORABLE.match(str(dtype)):
        return f"its dtype is {dtype}"
    return None


class LossyConversionWarning(UserWarning):
    """Stored values are loaded into a dtype that cannot hold all of them."""


def require_dtype(name: str, stored: torch.dtype, target: torch.dtype, *, strict: bool) -> None:
    """Warn where a dtype cannot hold every stored value; raise TypeError where that is not wanted, or impossible."""
    if unstorable(target, torch.strided):
        raise TypeError(f"{name!r} has the dtype {target} in the template, which cannot be loaded into")
    if holds_every_value(target, stored):
        return
    text = f"{name!r} is stored as {stored}, and {target} cannot hold all its values"
    if strict:
        raise TypeError(f"{text}; use DefaultLoadPlanner(strict_dtypes=False) to load it all the same")
    warnings.warn(f"{text}: they are converted", LossyConversionWarning, stacklevel=2)


@functools.cache
def holds_every_value(target: torch.dtype, source: torch.dtype) -> bool:
    """Tell whether ``target`` can represent every value of ``source`` exactly (widening, or the same dtype)."""
    if target == source:
        return True
    if any(_UNSTORABLE.match(str(dtype)) or "float4" in str(dtype) for dtype in (target, source)):
        return False
    if source == torch.bool:
        return True
    if target == torch.bool or (source.is_complex and not target.is_complex):
        return False
    if target.is_complex or source.is_complex:
        return holds_every_value(_component(target), _component(source))
    if not target.is_floating_point:
        return not source.is_floating_point and _int_range_fits(target, source)
    if source.is_floating_point:
        return _float_fits(target, source)
    return _int_bits(source) <= _mantissa_bits(target) and _int_max(source) <= torch.finfo(target).max


def _component(dtype: torch.dtype) -> torch.dtype:
    return {torch.complex32: torch.float16, torch.complex64: torch.float32, torch.complex128: torch.float64}.get(
        dtype, dtype
    )


def _int_range_fits(target: torch.dtype, source: torch.dtype) -> bool:
    wide, narrow = torch.iinfo(target), torch.iinfo(source)
    return wide.min <= narrow.min and narrow.max <= wide.max


def _int_max(dtype: torch.dtype) -> int:
    return int(torch.iinfo(dtype).max)


def _int_bits(dtype: torch.dtype) -> int:
    """Bits of the largest magnitude. The smallest signed value is a power of two and needs no more."""
    return _int_max(dtype).bit_length()


def _mantissa_bits(dtype: torch.dtype) -> int:
    """Significant bits, the implicit one included: eps is 2 ** (1 - bits)."""
    return 1 - round(torch.tensor(torch.finfo(dtype).eps, dtype=torch.float64, device="cpu").log2().item())


def _float_fits(target: torch.dtype, source: torch.dtype) -> bool:
    wide, narrow = torch.finfo(target), torch.finfo(source)
    smallest = [info.smallest_normal * info.eps for info in (wide, narrow)]
    return wide.eps <= narrow.eps and wide.max >= narrow.max and smallest[0] <= smallest[1]
