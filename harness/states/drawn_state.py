"""The state that a combination means: entries at their paths, with what each must come back as."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from dcp_conformance.harness.states.drawn_tensors import content, laid, sharing
from dcp_conformance.harness.states.known_formats import known_format
from dcp_conformance.harness.states.model import FORMATS, ORDINARY, SHAPES
from dcp_conformance.harness.states.values import coded, resolved
from dcp_conformance.harness.states.varied import Combination

Path = tuple[Any, ...]


class Keeper:
    """A Stateful that hands out its live tensors; what it was asked and handed is counted."""

    def __init__(self, number: int, version: int, *, plain: bool) -> None:
        self.weight, self.step, self._plain = coded(number, (7,), version=version), 100 * version + number, plain

    def state_dict(self) -> dict[str, Any]:
        """Return the live weight and, where the storage takes objects, a step that moves on with training."""
        return {"weight": self.weight} if self._plain else {"weight": self.weight, "inner": {"step": self.step}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what was loaded."""
        self.weight, self.step = state["weight"], self.step if self._plain else state["inner"]["step"]

    def said(self) -> dict[str, Any]:
        """Return its state in memory of its own, for comparison."""
        return copy.deepcopy(self.state_dict())


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One value of the state. law: whose promise it is: tensor, exotic or object."""

    path: Path
    value: Any
    law: str

    def expected(self) -> Any:
        """Return what must come back, cut off from later changes."""
        if isinstance(self.value, torch.Tensor):
            return resolved(self.value.detach())
        return self.value.said() if isinstance(self.value, Keeper) else copy.deepcopy(self.value)


def entries(row: Combination, version: int, *, plain: bool) -> list[Entry]:
    """Return the entries of a combination, the main one first.

    plain: the storage takes no objects, not even of a Stateful.
    """
    tensors = _tensors(row, version)
    named = [
        Entry(path=path_of(row["key"], place), value=value, law=_law(value)) for place, value in enumerate(tensors)
    ]
    return named + _objects(row["object"], version, plain=plain)


def nested(found: list[Entry]) -> dict[str, Any]:
    """Return the state dict of entries: dicts along their paths, and a list where a path says so."""
    return built({entry.path: entry.value for entry in found})


def built(leaves: Mapping[Path, Any]) -> dict[str, Any]:
    """Dicts along paths, in the order of the leaves; below the key "list" a list."""
    state: dict[str, Any] = {}
    for path, leaf in leaves.items():
        if path[0] == "list":
            state.setdefault("list", []).append(leaf)
            continue
        inner = state
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = leaf
    return state


def reached(state: Mapping[Any, Any], path: Path) -> Any:
    """Return what a state holds at a path; KeyError or IndexError where it holds nothing."""
    found: Any = state
    for name in path:
        found = found[name]
    return found


def path_of(key: str, place: int) -> Path:
    """Return where the entry number `place` stands under a key class of the model; no two are alike."""
    if key == "nested":
        return ("model", "layer", f"weight{place or ''}")
    if key in ("list", "numbers"):
        return (key, place)
    beginnings = {
        "words": ("main",), "dotted": ("a.b", "a.c", "a.b.c"), "slashes": ("a/b", "a/b/c", "a"),
        "spaces": (" a", "a", "a "), "plus": ("a+b", "a b", "a%20b"), "percent": ("a%2Fb", "a/b", "a%252Fb"),
        "unicode": ("\u00fc", "u\u0308", "\u4e2d"), "case twins": ("main", "Main", "MAIN"),
        "prefixes": ("layer.1", "layer.10", "layer"), "long": ("k" * 200,), "digits": ("1", "01", "1.0"),
        "files": (".metadata", "__0_0.distcp", "commit"),
    }[key]  # fmt: skip
    return (beginnings[place] if place < len(beginnings) else f"{beginnings[0]}{place}",)


def _law(value: torch.Tensor) -> str:
    return "tensor" if str(value.dtype).removeprefix("torch.") in ORDINARY else "exotic"


def _tensors(row: Combination, version: int) -> list[torch.Tensor]:
    shape, dtype = SHAPES[row["shape"]], getattr(torch, row["dtype"])
    base = content(row["content"], "main", shape, dtype, version)
    if row["memory"] == "shared":
        whole, part = sharing(base)
        first = [part, whole]
    else:
        main = laid(base, row["memory"])
        others = {"tied": [main], "with its transpose": [main.transpose(0, -1)] if main.dim() else []}
        first = [main, *others.get(row["memory"], [])]
    if row["beside"] == "known formats":
        return first + [content(name, name, (40 + version,), torch.uint8, version) for name in FORMATS]
    return first + [
        laid(content(row["content"], f"beside {place}", beside, kind, version), "own")
        for place, (beside, kind) in enumerate(_neighbours(row["beside"], shape, dtype))
    ]


def _neighbours(beside: str, shape: tuple[int, ...], dtype: torch.dtype) -> list[tuple[tuple[int, ...], torch.dtype]]:
    others = [getattr(torch, name) for name in ("float32", "int64", "int32", "uint8")]
    chosen: dict[str, list[tuple[tuple[int, ...], torch.dtype]]] = {
        "alone": [],
        "twins": [(shape, dtype)] * 3,
        "other dtypes": [(shape, other) for other in others if other != dtype],
        "turned": [(tuple(reversed(shape)), dtype), ((math.prod(shape),), dtype)],
        "nine": [((3,), dtype)] * 8,
        "mixed sizes": [((0,), dtype), ((5000,), dtype), ((1,), dtype)],
        "many": [((1 + place % 3,), dtype) for place in range(20)],
    }
    return chosen[beside]


def _objects(kind: str, version: int, *, plain: bool) -> list[Entry]:
    if kind in ("stateful", "two statefuls"):
        count = 1 if kind == "stateful" else 2
        made = [Keeper(number, version, plain=plain) for number in range(count)]
        return [Entry(path=(f"keeper{number}",), value=keeper, law="object") for number, keeper in enumerate(made)]
    if kind == "many objects":
        return [Entry(path=(f"object{number}",), value=[version, number], law="object") for number in range(17)]
    if kind == "known formats":
        held = {name: known_format(name, 40 + version) for name in FORMATS}
        return [Entry(path=(f"object of {name}",), value=value, law="object") for name, value in held.items()]
    if kind == "none":
        return []
    stream = io.BytesIO(b"stream \x00\xff of version %d" % version)
    stream.seek(3)
    value = {
        "number": version + 7, "huge number": 3**400 + version, "nan": float("nan"),
        "text": f"line\r\n\u00fc\u4e2d \x00 {version * '.'}", "empty text": "",
        "bytes": b"\x80\x00\r\n" + bytes([version]) * version,
        "list": [version, "two", [3.5, None]], "tuple": (version, "two", (3.0, None)), "nothing": None,
        "stream": stream,
    }.get(kind)  # fmt: skip
    if kind == "nested":
        found = {
            ("config", "deep", "number"): version,
            ("config", "deep", "tuple"): (1, version),
            ("config", "name"): "x",
        }
        return [Entry(path=path, value=item, law="object") for path, item in found.items()]
    return [Entry(path=("object",), value=value, law="object")]
