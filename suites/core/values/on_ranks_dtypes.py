"""Values and targets at the edges of their types: special bits, other dtypes, odd layouts, aliases, gradients."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch

from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded, pattern
from dcp_conformance.harness.subject.looking import noticed
from dcp_conformance.harness.subject.session import Session

# dtype -> (integer dtype of its size, bits): quiet and signalling NaNs with payloads of both signs, both zeros, both
# infinities, the smallest and the largest denormal, the smallest normal number, the largest number, one.
SPECIAL_BITS: dict[str, tuple[str, tuple[int, ...]]] = {
    "float64": ("int64", (
        0x7FF8000000000001, 0x7FF0000000000001, 0xFFF8DEADBEEF0001, 0xFFF0000000000BAD, 0, 1 << 63, 0x7FF0000000000000,
        0xFFF0000000000000, 1, 0x800FFFFFFFFFFFFF, 0x0010000000000000, 0x7FEFFFFFFFFFFFFF, 0x3FF0000000000000)),
    "float32": ("int32", (
        0x7FC00001, 0x7F800001, 0xFFC0BEEF, 0xFF800BAD, 0, 1 << 31, 0x7F800000, 0xFF800000, 1, 0x807FFFFF, 0x00800000,
        0x7F7FFFFF, 0x3F800000)),
}  # fmt: skip


def special_values(session: Session, name: str) -> list[Difference]:
    """Every special value of a dtype, and tensors that compare as simpler than they are."""
    dtype = getattr(torch, name)
    tensor = _special(name) if dtype.is_floating_point else _extremes(dtype)
    state = {"special": tensor, "one": tensor[1], **_compare_as_simpler(dtype)}
    checkpoint_id, target = session.new_id(), blank(state)
    session.save(state, checkpoint_id)
    session.load(target, checkpoint_id)
    return differences(state, target)


def _special(name: str) -> torch.Tensor:
    """Every special value of a floating dtype; for those of 16 bits, every value there is."""
    dtype = getattr(torch, name)
    if dtype.itemsize == 2:
        return torch.arange(1 << 16, dtype=torch.int32).to(torch.int16).view(dtype)
    integer, bits = SPECIAL_BITS[name]
    width = 8 * dtype.itemsize
    signed = [number - (1 << width) if number >> (width - 1) else number for number in bits]
    return torch.tensor(signed, dtype=getattr(torch, integer)).view(dtype)


def _extremes(dtype: torch.dtype) -> torch.Tensor:
    limits = torch.iinfo(dtype)
    return torch.tensor([limits.min, limits.min + 1, 0, 1, limits.max - 1, limits.max], dtype=dtype)


def _compare_as_simpler(dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Tensors for which what compares values decides wrongly, where it would store a tensor in less space.

    Zeros of both signs are equal; the smallest integer has no absolute value.
    """
    ones, zeros = torch.ones(256, dtype=dtype), torch.zeros(256, dtype=dtype)
    if not dtype.is_floating_point:
        ones[100] = torch.iinfo(dtype).min
        return {"small but one": ones}
    mostly_zeros, both_zeros = -zeros, zeros.clone()
    mostly_zeros[100] = 1
    both_zeros[::3] *= -1
    return {"mostly zeros": mostly_zeros, "zeros of both signs": both_zeros}


# What is stored, and what stands in the template.
KIND_MISMATCHES: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "number_into_tensor": (lambda: 5, lambda: torch.ones(1)),
    "list_into_tensor": (lambda: [1.0, 2.0], lambda: torch.ones(2)),
    "tensor_into_number": (lambda: torch.ones(1), lambda: 5),
    "tensor_into_string": (lambda: torch.ones(2), lambda: "text"),
}


def kind_mismatch(session: Session, case: str) -> tuple[Attempt, list[str], str]:
    """Load with a template that asks for another kind of value than is stored.

    How it ended, warnings that a plain load does not give, and what stands there then.
    """
    stored, wanted = KIND_MISMATCHES[case]
    checkpoint_id, target = session.new_id(), {"a": wanted()}
    session.save({"a": stored()}, checkpoint_id)
    with noticed() as usual:
        session.load({"a": stored()}, checkpoint_id)
    with noticed() as said:
        attempt = session.attempt(session.load, target, checkpoint_id)
    return attempt, [text for text in said if text not in usual], repr(target["a"])


# Stored values, the dtype of the target, and what the conversion loses.
LOSSY: dict[str, tuple[Callable[[], torch.Tensor], torch.dtype]] = {
    "narrowing": (lambda: torch.tensor([1.0 + 2**-40, -3.1], dtype=torch.float64), torch.float32),
    "overflow": (lambda: torch.tensor([1e300, -1e300], dtype=torch.float64), torch.float16),
    "complex_to_real": (lambda: torch.tensor([1 + 2j, 3 - 4j]), torch.float32),
    "float_to_integer": (lambda: torch.tensor([1.9, -3.7]), torch.int64),
    "integer_to_float": (lambda: torch.tensor([2**24 + 1, -(2**24) - 1]), torch.float32),
    "integer_overflow": (lambda: torch.tensor([300, -1]), torch.uint8),
}


def lossy_load(session: Session, case: str) -> tuple[Attempt, list[str], str]:
    """Load into a dtype that cannot hold the values.

    Returns how it ended, warnings that a plain load does not give, and what the target then holds.
    """
    make, dtype = LOSSY[case]
    stored, checkpoint_id = make(), session.new_id()
    if "exotic_dtypes" in session.storage.unsupported and stored.dtype.is_complex:
        session.excuse("it needs a complex dtype, which the backend opted out of")
    session.save({"a": stored}, checkpoint_id)
    with noticed() as usual:
        session.load({"a": torch.zeros_like(stored)}, checkpoint_id)
    target = {"a": torch.zeros(stored.shape, dtype=dtype)}
    with noticed() as said:
        attempt = session.attempt(session.load, target, checkpoint_id)
    return attempt, [text for text in said if text not in usual], str(target["a"].tolist())


# Stored dtype and a wider one that holds all its values.
WIDENINGS = {"bfloat16": "float32", "float16": "float64", "float32": "float64", "int8": "int32", "uint8": "int64"}


def widening_load(session: Session, name: str) -> tuple[Attempt, bool, str, list[Difference]]:
    """Load into a wider dtype: how it went, whether the target is still itself, its dtype, what differs."""
    wide, numbers = getattr(torch, WIDENINGS[name]), torch.arange(-8, 8).to(getattr(torch, name))
    stored = {
        "line": numbers,
        "scalar": numbers[3].clone(),
        "one": numbers[5:6].clone(),
        "table": numbers.reshape(4, 4).clone(),
    }
    checkpoint_id, given = (
        session.new_id(),
        {key: torch.full_like(item, 77, dtype=wide) for key, item in stored.items()},
    )
    session.save(stored, checkpoint_id)
    target, places = dict(given), {key: item.data_ptr() for key, item in given.items()}
    attempt = session.attempt(session.load, target, checkpoint_id)
    kept = all(target[key] is item and item.data_ptr() == places[key] for key, item in given.items())
    found = differences({key: item.to(wide) for key, item in stored.items()}, target) if attempt.ok else []
    now = sorted({str(item.dtype).removeprefix("torch.") for item in target.values()})
    return attempt, kept, " and ".join(now), found


def aliased_target(session: Session, expanded: bool) -> tuple[Attempt, list[Any]]:
    """Load four values into a target whose elements share memory: how it ended, what memory holds."""
    checkpoint_id = session.new_id()
    session.save({"a": torch.arange(1.0, 5.0)}, checkpoint_id)
    memory = torch.full((1,) if expanded else (3,), -1.0)
    tensor = memory.expand(4) if expanded else memory.as_strided((4,), (0,))
    attempt = session.attempt(session.load, {"a": tensor}, checkpoint_id)
    return attempt, memory.tolist()


# Targets of a shape of four dimensions in memory of another order.
TARGET_LAYOUTS: dict[str, Callable[..., torch.Tensor]] = {
    "channels_last": lambda a, b, c, d: torch.full((a, b, c, d), -1.0).to(memory_format=torch.channels_last),
    "permuted": lambda a, b, c, d: torch.full((d, c, b, a), -1.0).permute(3, 2, 1, 0),
    "every_other": lambda a, b, c, d: torch.full((2 * a, b, c, d), -1.0)[::2],
    "row_padded": lambda a, b, c, d: torch.full((a, b, c, d + 4), -1.0)[..., 3 : d + 3],
    "dense": lambda a, b, c, d: torch.full((a, b, c, d), -1.0),
}
# A small one, and one that readers treat as large.
TARGET_SHAPES = ((2, 3, 4, 5), (4, 8, 50, 90))


def target_layout(session: Session, layout: str) -> tuple[list[int], list[int], list[Difference]]:
    """Strides of targets before and after loads of dense and channels-last sources, and what differs."""
    found: list[Difference] = []
    strides, after = [], []
    for shape, order in itertools.product(TARGET_SHAPES, (torch.contiguous_format, torch.channels_last)):
        checkpoint_id = session.new_id(f"{shape} {order}")
        source = pattern("layout", shape, torch.float32).to(memory_format=order)
        if order is torch.channels_last and "layouts" in session.storage.unsupported:
            continue
        tensor = TARGET_LAYOUTS[layout](*shape)
        target = {"a": tensor}
        strides += list(tensor.stride())
        session.save({"a": source}, checkpoint_id)
        session.load(target, checkpoint_id)
        after += list(target["a"].stride())
        found += differences({"a": source}, target)
    return strides, after, found


def _non_leaf(dense: torch.Tensor) -> torch.Tensor:
    return dense.clone().requires_grad_() * 1.0


def _inference(dense: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return dense.clone()


GRADIENTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "requires_grad": lambda dense: dense.clone().requires_grad_(),
    "parameter": lambda dense: torch.nn.Parameter(dense.clone()),
    "frozen_parameter": lambda dense: torch.nn.Parameter(dense.clone(), requires_grad=False),
    "non_leaf": _non_leaf,
    "inference": _inference,
}


def gradient_round_trip(session: Session, kind: str) -> tuple[list[str], list[Difference]]:
    """Save and load a tensor with an autograd history; report what changed in it, what a load gives otherwise.

    A small tensor, and one that readers treat as large.
    """
    changed, found = zip(*(_gradient_trip(session, kind, count) for count in (6, 150_000)), strict=True)
    return [item for one in changed for item in one], [item for one in found for item in one]


def _gradient_trip(session: Session, kind: str, count: int) -> tuple[list[str], list[Difference]]:
    checkpoint_id, values = session.new_id(f"of{count}"), coded(1, (count,), version=1)
    source, tensor = GRADIENTS[kind](values), GRADIENTS[kind](torch.full((count,), -1.0, dtype=torch.float64))
    before = [_history(source), _history(tensor)]
    session.save({"a": source}, checkpoint_id)
    target = {"a": tensor}
    session.load(target, checkpoint_id)
    changed = [
        f"{name} was {then} and is {now}"
        for name, then, now in zip(("source", "target"), before, [_history(source), _history(tensor)], strict=True)
        if then != now
    ]
    if target["a"] is not tensor:
        changed.append("the target was replaced by another tensor")
    if kind == "non_leaf":
        changed += _gradient(source)
    return changed, differences({"a": values}, target) + differences({"a": values}, {"a": source})


def _history(tensor: torch.Tensor) -> tuple[Any, ...]:
    return (
        tensor.requires_grad,
        tensor.is_leaf,
        # The object and not its id: torch before 2.13 makes a new one for each look that outlives the last.
        tensor.grad_fn,
        tensor.is_inference(),
        tensor.grad is None,
        type(tensor).__name__,
    )


def _gradient(source: torch.Tensor) -> list[str]:
    """Run the source's own history, which must still work: its gradient is one everywhere."""
    leaf = source.grad_fn.next_functions[0][0].variable  # type: ignore[union-attr]
    source.sum().backward()  # type: ignore[no-untyped-call]
    return [] if bool((leaf.grad == 1.0).all()) else [f"its gradient is {leaf.grad[:6].tolist()} ... instead of ones"]
