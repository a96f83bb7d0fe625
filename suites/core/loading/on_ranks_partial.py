"""Templates that ask for more, for less, or for other things than were stored."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from dcp_conformance.harness.faults.proxy import interpose
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded, pattern
from dcp_conformance.harness.subject.session import Session, into_subject

EARLIER = -3.0  # what every tensor of a template holds before the load


class Opaque:
    """An object of the user's own that no library knows."""

    def __repr__(self) -> str:
        return "an object"


@dataclass
class _ReadKeys:
    """A tap that notes for which keys read items were planned."""

    keys: set[str] = field(default_factory=set)

    def call(self, method: str, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        plan = [*args, *kwargs.values()][0]
        self.keys.update(str(item.dest_index.fqn) for item in plan.items)
        return inner(*args, **kwargs)


def ask_for_missing(session: Session, template: dict[str, Any]) -> Attempt:
    """Ask for `template`, a nested dict of tensor sizes, where {"stored": ...} is stored, and report how that ends."""
    checkpoint_id = session.new_id()
    session.save({"stored": coded(1, (4,), version=1)}, checkpoint_id)
    return session.attempt(session.load, _asked(template), checkpoint_id)


def ask_for_lookalikes(session: Session) -> list[tuple[str, Attempt]]:
    """Ask for flat keys that begin, end or go on like a stored one, or are above it, and report how the loads end."""
    checkpoint_id, tensor = session.new_id(), coded(1, (4,), version=1)
    session.save({"layer10": tensor, "outer": {"weight_ema": tensor, "inner": {"bias": tensor}}}, checkpoint_id)
    templates: dict[str, dict[str, Any]] = {
        "layer1": {"layer1": 4}, "layer100": {"layer100": 4}, "ayer10": {"ayer10": 4}, "LAYER10": {"LAYER10": 4},
        "outer": {"outer": 4}, "inner": {"inner": {"bias": 4}}, "weight_ema": {"weight_ema": 4},
        "outer.weight": {"outer": {"weight": 4}}, "outer.inner.bias.bias": {"outer": {"inner": {"bias": {"bias": 4}}}},
    }  # fmt: skip
    return [
        (key, session.attempt(session.load, {**_asked(template), **_asked({"layer10": 4})}, checkpoint_id))
        for key, template in templates.items()
    ]


def ask_for_more_of_a_list(session: Session, stored: int, asked: int) -> tuple[Attempt, list[Difference]]:
    """Save a list of `stored` tensors, load into one of `asked`; what differs counts only where the load returned."""
    checkpoint_id, state = session.new_id(), [coded(place, (4,), version=1) for place in range(stored)]
    session.save({"items": state}, checkpoint_id)
    target = {"items": [torch.full_like(state[0], EARLIER) for _ in range(asked)]}
    attempt = session.attempt(session.load, target, checkpoint_id)
    return attempt, differences({"items": state[:asked]}, target)


def allow_missing(session: Session) -> list[Difference]:
    """Load two stored and two unknown keys partially: the stored ones arrive, the others keep their value."""
    checkpoint_id = session.new_id()
    state = {"top": coded(1, (4,), version=1), "nested": {"inner": coded(2, (3,), version=1)}}
    session.save(state, checkpoint_id)
    target: dict[str, Any] = blank(state)
    target["unknown"] = coded(3, (2,), version=1)
    target["nested"]["unknown"] = coded(4, (2,), version=1)
    session.load(target, checkpoint_id, planner=_partial_planner(session))
    state["unknown"] = coded(3, (2,), version=1)
    state["nested"]["unknown"] = coded(4, (2,), version=1)  # type: ignore[index]
    return differences(state, target)


def ask_for_some_of_each(session: Session) -> tuple[list[Difference], list[str]]:
    """Load one of three keys at each level: what differs, and for which keys items were planned (where seen)."""
    checkpoint_id, names = session.new_id(), ("a_unasked", "second", "unasked")
    values: dict[str, Any] = {name: coded(key, (4,), version=1) for key, name in enumerate(names)}
    unasked = {"deep": {"unasked": values["unasked"]}}
    session.save({**values, "dict": {**values, **unasked}, "list": [dict(values)], **unasked}, checkpoint_id)
    wanted = {"second": values["second"]}
    state: dict[str, Any] = {**wanted, "dict": wanted, "list": [wanted]}
    tap, target = _ReadKeys(), blank(state)
    reader = None if session.storage.reader is None else session.reader(checkpoint_id)
    if reader is not None:
        reader = interpose(reader, ("prepare_local_plan",), tap)
    session.load(target, checkpoint_id, reader=reader)
    return differences(state, target), sorted(tap.keys)


def keep_skipped_values(session: Session) -> list[str]:
    """Load partially over values of many types that are not stored; report those that are not what they were."""
    checkpoint_id = session.new_id()
    session.save({"stored": coded(1, (4,), version=1)}, checkpoint_id)
    skipped = unusual_values(meta=True)
    target: dict[str, Any] = {"stored": torch.zeros(4, dtype=torch.float64), **skipped, "nested": dict(skipped)}
    session.load(target, checkpoint_id, planner=_partial_planner(session))
    return changed(skipped, target) + [f"nested.{name}" for name in changed(skipped, target["nested"])]


def keep_skipped_tensors(session: Session) -> list[str]:
    """As `keep_skipped_values`, over tensors of many dtypes and shapes and nothing else."""
    checkpoint_id = session.new_id()
    session.save({"stored": coded(1, (4,), version=1)}, checkpoint_id)
    kinds = (torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool)
    skipped = {f"{kind} {shape}": pattern("kept", shape, kind) for kind in kinds for shape in ((), (3,), (2, 3), (0,))}
    given = {key: item.clone() for key, item in skipped.items()}
    target: dict[str, Any] = {"stored": torch.zeros(4, dtype=torch.float64), **given}
    session.load(target, checkpoint_id, planner=_partial_planner(session))
    return [key for key, item in skipped.items() if target.get(key) is not given[key] or differences(item, given[key])]


def unusual_values(*, meta: bool = False) -> dict[str, Any]:
    """Return a value of each type that a pass over a template may not know.

    meta: also a tensor without memory, at which some engines give up before they come to the others.
    """
    values: dict[str, Any] = {
        "object": Opaque(), "set": {1, 2}, "complex": 3j, "dtype": torch.float16, "text": "kept", "none": None,
        "list": [1],
        "tensor": coded(9, (3,), version=1), "tuple": (1, 2), "bytes": b"kept", "blob": io.BytesIO(b"kept"),
        "parameter": torch.nn.Parameter(coded(8, (2,), version=1)),
    }  # fmt: skip
    if meta:
        values["meta"] = torch.empty(3, device="meta")
    with contextlib.suppress(ImportError):  # torch works without numpy
        import numpy

        values["array"] = numpy.arange(3)
    return values


def changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """`key is ... instead of ...` for each value of `before` that is neither the same object nor equal in `after`."""
    return [
        f"{key!r} is {after.get(key, 'missing')!r} instead of {value!r}"
        for key, value in before.items()
        if after.get(key, Opaque) is not value and _unequal(value, after.get(key, Opaque))
    ]


def learn_about_keys(session: Session) -> tuple[str, bool]:
    """Report what a load with a missing and a left-over key told its caller, as a text.

    Whether keys may be missing at all.
    """
    checkpoint_id = session.new_id()
    session.save({"stored": coded(1, (4,), version=1), "left_over_key": coded(2, (4,), version=1)}, checkpoint_id)
    target = {"stored": torch.zeros(4, dtype=torch.float64)}
    # A partial load through another's planner would show what that one tells.
    partial = "DefaultLoadPlanner" in session.engine.utilities and session.takes("load", "planner")
    options = {"planner": _partial_planner(session)} if partial else {}
    if partial:
        target["missing_key"] = torch.zeros(2)
    with heard() as words:
        words.append(repr(session.load(target, checkpoint_id, **options)))
    return "\n".join(words), partial


def one_rank_asks_for_more(session: Session) -> Attempt:
    """Load a common key on all ranks; the last one also asks for one that is not stored."""
    checkpoint_id = session.new_id()
    session.save({"common": coded(1, (4,), version=1)}, checkpoint_id)
    target = {"common": torch.zeros(4, dtype=torch.float64)}
    if session.rank == session.world_size - 1:
        target["zz"] = torch.zeros(1)
    return session.attempt(session.load, target, checkpoint_id)


def load_by_keys(session: Session, keys: list[str]) -> tuple[list[Difference], list[Difference]]:
    """Load `model`, and the prefix `optimizer.state`, and compare both with what was stored there."""
    checkpoint_id = session.new_id()
    stored: dict[str, Any] = {
        "model": {"weight": coded(1, (4,), version=1), "bias": coded(2, (2,), version=1)},
        "model_average": {"weight": coded(5, (4,), version=1)},
        "optimizer": {
            "state": {"step": coded(3, (1,), version=1)},
            "param_groups": [{"lr": coded(4, (1,), version=1)}],
        },
    }
    session.save(stored, checkpoint_id)
    by_keys = session.tool("_load_state_dict_from_keys")
    model = into_subject(by_keys, {keys[0]}, storage_reader=session.reader(checkpoint_id))
    prefix = into_subject(by_keys, {keys[1]}, storage_reader=session.reader(checkpoint_id))
    wanted = {"optimizer": {"state": stored["optimizer"]["state"]}}
    return differences({"model": stored["model"]}, model), differences(wanted, prefix)


@contextlib.contextmanager
def heard(level: int = logging.INFO) -> Iterator[list[str]]:
    """Collect the texts of log records (of `level` and above) and warnings given meanwhile, on any thread."""
    words: list[str] = []
    root, handler = logging.getLogger(), _Listening(words)
    before = root.level
    root.addHandler(handler)
    root.setLevel(level)
    try:
        with warnings.catch_warnings(record=True) as given:
            warnings.simplefilter("always")
            yield words
        words.extend(str(item.message) for item in given)
    finally:
        root.setLevel(before)
        root.removeHandler(handler)


class _Listening(logging.Handler):
    def __init__(self, words: list[str]) -> None:
        super().__init__()
        self.words = words

    def emit(self, record: logging.LogRecord) -> None:
        self.words.append(record.getMessage())


def _partial_planner(session: Session) -> Any:
    return into_subject(session.tool("DefaultLoadPlanner"), allow_partial_load=True)


def _asked(template: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _asked(item) if isinstance(item, dict) else torch.full((item,), EARLIER, dtype=torch.float64)
        for key, item in template.items()
    }


def _unequal(value: Any, found: Any) -> bool:
    if isinstance(value, torch.Tensor) and value.is_meta:
        return not (isinstance(found, torch.Tensor) and found.is_meta and found.shape == value.shape)
    return (
        bool(differences(value, found, limit=1)) if type(value).__name__ != "ndarray" else bool((value != found).any())
    )
