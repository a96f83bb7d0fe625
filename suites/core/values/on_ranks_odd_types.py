"""Values that a backend may refuse, but must not lose: sub-byte, sparse, nested, quantized, of other classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from dcp_conformance.harness.laws.observations import Attempt
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.subject.looking import noticed
from dcp_conformance.harness.subject.relay import Recorder
from dcp_conformance.harness.subject.session import Session

KEY = "odd.value"


class PlainSubclass(torch.Tensor):
    """A tensor subclass without any behaviour of its own, as libraries use to mark tensors."""


@dataclass
class Custom:
    """An object of a user's own class."""

    number: int
    text: str


def _bits(name: str) -> Callable[[int], Any]:
    return lambda fill: (torch.arange(8, dtype=torch.uint8) + fill).view(getattr(torch, name))


def _quantized(value: float, scale: float, zero: int) -> torch.Tensor:
    return torch.quantize_per_tensor(torch.full((2,), value), scale, zero, torch.quint8)


def _attributed(tensor: torch.Tensor) -> torch.Tensor:
    """With notes of a library's own on it, as parallel and optimizer libraries leave them."""
    tensor.note = Custom(1, "text")  # type: ignore[attr-defined]
    return tensor


# Made from a number that is 1 for what is saved and 0 for the target; how to compare is in _plain.
UNUSUAL: dict[str, Callable[[int], Any]] = {
    "uint4": _bits("uint4"),
    "int4": _bits("int4"),
    "uint1": _bits("uint1"),
    "bits8": _bits("bits8"),
    "bits16": _bits("bits16"),
    "sparse_coo": lambda fill: (torch.eye(4) * fill).to_sparse(),
    "sparse_csr": lambda fill: (torch.eye(4) * fill).to_sparse_csr(),
    "nested": lambda fill: torch.nested.nested_tensor([torch.full((2,), float(fill)), torch.full((3,), float(fill))]),
    "jagged": lambda fill: torch.nested.nested_tensor(
        [torch.full((2,), float(fill)), torch.full((3,), float(fill))], layout=torch.jagged
    ),
    "meta": lambda fill: torch.empty(4, device="meta"),
}

# What saves, must load, where nothing was said against it. The target is made with 0.
SAVEABLE: dict[str, Callable[[int], Any]] = {
    "tensor_subclass": lambda fill: (
        torch.full((2,), float(fill)).as_subclass(PlainSubclass) if fill else torch.zeros(2)
    ),
    "quantized": lambda fill: _quantized(float(fill), 0.1, 0),
    "custom_class": lambda fill: Custom(fill, "text") if fill else None,
    "attributed_tensor": lambda fill: _attributed(torch.full((2,), float(fill))),
    "attributed_parameter": lambda fill: _attributed(torch.nn.Parameter(torch.full((2,), float(fill)))),
}


def missing(name: str) -> bool:
    """Tell whether this torch lacks the dtype of that name."""
    return name in ("uint4", "int4", "uint1", "bits8", "bits16") and not hasattr(torch, name)


def unusual_round_trip(session: Session, name: str) -> tuple[Attempt, bool, bool, Attempt | None, list[str]] | None:
    """Save an unusual tensor beside an ordinary one.

    Returns how the save ended, whether its error names the key, whether data was stored, how a load ended if the
    save returned, and what it gave otherwise. None where this torch lacks the type.
    """
    if missing(name):
        return None
    checkpoint_id, recorder = session.new_id(), Recorder()
    state = {"ordinary": torch.arange(4.0), KEY: UNUSUAL[name](1)}
    writer = recorder.around(session.writer(checkpoint_id))
    save = session.attempt(session.save, state, checkpoint_id, writer=writer)
    if save.error is not None:
        texts = [save.error.text, *(error.text for error in (save.error.failures or {}).values())]
        return save, any(KEY in text for text in texts), _anything_stored(session, checkpoint_id, recorder), None, []
    target = {"ordinary": torch.zeros(4), KEY: UNUSUAL[name](0)}
    load = session.attempt(session.load, target, checkpoint_id)
    return save, True, True, load, [] if load.error is not None or name == "meta" else _unlike(state, target)


def _anything_stored(session: Session, checkpoint_id: Any, recorder: Recorder) -> bool:
    """Tell whether a refused save had begun to store: by the stored objects, or by the phase where those are hidden."""
    if "stored_bytes" in session.storage.unsupported:
        return recorder.writing_began is not None
    blobs = session.blobs(checkpoint_id)
    return recorder.writing_began is not None if blobs is None else bool(blobs.names())


def quantized_round_trip(session: Session) -> tuple[Attempt, Attempt | None, list[float]]:
    """Load a quantized tensor into a target of another scale; report both ends, and the real values of the target."""
    checkpoint_id, target = session.new_id(), {"q": _quantized(0.0, 0.5, 3)}
    session.save({"q": torch.zeros(2)}, session.new_id("ordinary"))
    save = session.attempt(session.save, {"q": _quantized(1.0, 0.1, 0)}, checkpoint_id)
    if save.error is not None:
        return save, None, []
    load = session.attempt(session.load, target, checkpoint_id)
    return save, load, target["q"].dequantize().tolist()


def saved_without_complaint(session: Session, name: str) -> tuple[Attempt, list[str], Attempt | None] | None:
    """Save a value that is allowed to be refused: how that ended, what it warned of, and how a load ended."""
    if name == "custom_class" and "objects" in session.storage.unsupported:
        return None
    if name == "quantized" and "exotic_dtypes" in session.storage.unsupported:
        return None
    with noticed() as usual:
        session.save({"a": torch.zeros(2)}, session.new_id("ordinary"))
    checkpoint_id = session.new_id()
    with noticed() as said:
        save = session.attempt(session.save, {"a": SAVEABLE[name](1)}, checkpoint_id)
    if save.error is not None:
        return save, [], None
    load = session.attempt(session.load, {"a": SAVEABLE[name](0)}, checkpoint_id)
    return save, [text for text in said if text not in usual], load


def _unlike(expected: dict[str, Any], observed: dict[str, Any]) -> list[str]:
    found = differences({"ordinary": expected["ordinary"]}, {"ordinary": observed["ordinary"]})
    left, right = _plain(expected[KEY]), _plain(observed[KEY])
    return [item.sentence() for item in found] + ([] if left == right else [f"{KEY} is {right} instead of {left}"])


def _plain(value: Any) -> str:
    """Describe a tensor of an unusual type in words that are equal for equal values."""
    if value.is_nested:
        return str([part.tolist() for part in value.unbind()])
    if value.layout is not torch.strided:
        return f"{value.layout} {value.to_dense().tolist()}"
    return f"{value.dtype} {value.view(torch.uint8).tolist()}"
