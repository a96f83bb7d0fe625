"""The reader asked directly, with plans and planners made by hand: what it delivers, where to, and how often."""

from __future__ import annotations

import io
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.distributed.checkpoint import LoadPlan
from torch.distributed.checkpoint.metadata import MetadataIndex, TensorStorageMetadata
from torch.distributed.checkpoint.planner import LoadItemType, ReadItem

from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.states.by_hand import HandLoadPlanner
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import coded
from dcp_conformance.harness.subject.session import Session

SHAPES: dict[str, tuple[int, ...]] = {"line": (23,), "table": (9, 7), "block": (4, 5, 6)}
# Of more dimensions than a hand-written copy may have loops for.
DEEP: dict[str, tuple[int, ...]] = {"filter": (3, 4, 2, 5), "five": (2, 3, 2, 4, 3)}
# What readers treat as large.
LARGE: dict[str, tuple[int, ...]] = {"long line": (70_001,), "large table": (257, 263)}


@dataclass
class _Hands(HandLoadPlanner):
    """A planner whose targets are given by hand: places[n] is the tensor for the item whose target index is `n`.

    aside: resolve a temporary and copy it on commit. pause: seconds spent in each method, to see them overlap.
    """

    places: dict[str, torch.Tensor] = field(default_factory=dict)
    aside: bool = False
    pause: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    objects: dict[str, bytes] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    _given: dict[str, torch.Tensor] = field(default_factory=dict)
    _inside: list[int] = field(default_factory=list)

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        with _Entered(self, f"load_bytes of {read_item.dest_index.fqn}"):
            self.objects[read_item.dest_index.fqn] = value.read()

    def resolve_tensor(self, read_item: ReadItem) -> torch.Tensor:
        name = read_item.dest_index.fqn
        with _Entered(self, f"resolve_tensor of {name}"):
            place = self.places[name]
            self._given[name] = torch.full_like(place, -2) if self.aside else place
            return self._given[name]

    def commit_tensor(self, read_item: ReadItem, tensor: torch.Tensor) -> None:
        name = read_item.dest_index.fqn
        with _Entered(self, f"commit_tensor of {name}"):
            given = self._given.get(name)
            if given is None or given.data_ptr() != tensor.data_ptr() or given.shape != tensor.shape:
                self.problems.append(f"commit_tensor of {name} was not given the tensor that resolve_tensor returned")
            if self.aside:
                self.places[name].copy_(tensor)


class _Entered:
    """Counts a call of a planner's method, and notes if another thread is in one at the same time."""

    def __init__(self, planner: _Hands, what: str) -> None:
        self._planner, self._what = planner, what

    def __enter__(self) -> None:
        here = self._planner._inside
        self._planner.counts[self._what] += 1
        if any(thread != threading.get_ident() for thread in here):
            self._planner.problems.append(
                f"{self._what} was called while another thread was in a method of the planner"
            )
        here.append(threading.get_ident())
        time.sleep(self._planner.pause)

    def __exit__(self, *_error: object) -> None:
        self._planner._inside.remove(threading.get_ident())


def _saved(session: Session, tensors: dict[str, torch.Tensor], objects: bool = False, name: str = "checkpoint") -> Any:
    state: dict[str, Any] = {name: tensor.to(session.device) for name, tensor in tensors.items()}
    if objects and "objects" not in session.storage.unsupported:
        state |= {f"object{number}": {"n": number}["n"] for number in range(3)}
    session.save(state, session.new_id(name))
    reader = session.reader(session.new_id(name))
    metadata = reader.read_metadata()
    reader.set_up_storage_reader(metadata, True)
    return reader, metadata


def _deliver(reader: Any, items: list[ReadItem], planner: _Hands) -> None:
    plan = reader.prepare_global_plan([reader.prepare_local_plan(LoadPlan(items))])[0]
    reader.read_data(plan, planner).wait()


def _item(metadata: Any, name: str, place: str, offsets: tuple[int, ...], lengths: tuple[int, ...]) -> ReadItem:
    chunk = metadata.state_dict_metadata[name].chunks[0]
    return ReadItem(
        type=LoadItemType.TENSOR, dest_index=MetadataIndex(place, torch.Size([0] * len(lengths))),
        dest_offsets=torch.Size([0] * len(lengths)), storage_index=MetadataIndex(name, chunk.offsets, 0),
        storage_offsets=torch.Size(offsets), lengths=torch.Size(lengths),
    )  # fmt: skip


def random_boxes(session: Session, count: int, seed: int) -> list[Difference]:
    """Read `count` random boxes of stored tensors of 1 to 5 dimensions in shuffled order, each into its own target.

    Half of them are read once more, in plans of one box and of two, mostly of one tensor.
    """
    chance = random.Random(seed)
    shapes = SHAPES | LARGE | DEEP
    stored = {name: coded(key, shape, version=1) for key, (name, shape) in enumerate(shapes.items())}
    reader, metadata = _saved(session, stored)
    planner, items, expected = _Hands(), list[ReadItem](), dict[str, torch.Tensor]()
    for number in range(count):
        name = list(shapes)[number % len(shapes)]
        # Whole dimensions often enough for runs of rows and planes, which readers treat in ways of their own.
        spans = [(0, size) if chance.random() < 0.4 else _span(chance, size) for size in shapes[name]]
        offsets, lengths = tuple(low for low, _ in spans), tuple(length for _, length in spans)
        place = f"{name}[{offsets}+{lengths}]#{number}"
        expected[place] = stored[name][
            tuple(slice(low, low + size) for low, size in zip(offsets, lengths, strict=True))
        ]
        planner.places[place] = torch.full(lengths, -1.0, dtype=torch.float64, device=session.device)
        items.append(_item(metadata, name, place, offsets, lengths))
    chance.shuffle(items)
    _deliver(reader, items, planner)
    together = differences(expected, planner.places)
    for target in planner.places.values():
        target.fill_(-1)
    for item in items[: count // 5]:
        _deliver(reader, [item], planner)
    paired = sorted(items[count // 5 : count // 2], key=lambda item: item.storage_index.fqn)
    for start in range(0, len(paired), 2):
        _deliver(reader, paired[start : start + 2], planner)
    names = [item.dest_index.fqn for item in items[: count // 2]]
    return together or differences(
        {name: expected[name] for name in names}, {name: planner.places[name] for name in names}
    )


def _span(chance: random.Random, size: int) -> tuple[int, int]:
    low = chance.randrange(size)
    return low, chance.randint(1, size - low)


def delivered_aside(session: Session) -> tuple[list[Difference], list[str]]:
    """Read tensors and objects through a planner that hands out temporaries: (differences, broken call rules)."""
    stored = {name: coded(key, shape, version=1) for key, (name, shape) in enumerate(SHAPES.items())}
    reader, metadata = _saved(session, stored, objects=True)
    planner = _Hands(
        aside=True, places={name: torch.full_like(item, -1).to(session.device) for name, item in stored.items()}
    )
    items = [_item(metadata, name, name, (0,) * item.dim(), tuple(item.shape)) for name, item in stored.items()]
    named = [
        name for name, entry in metadata.state_dict_metadata.items() if not isinstance(entry, TensorStorageMetadata)
    ]
    _deliver(reader, items + [_object_item(name) for name in named], planner)
    wanted = [f"{call} of {name}" for name in stored for call in ("resolve_tensor", "commit_tensor")]
    wanted += [f"load_bytes of {name}" for name in named]
    counts = [f"{what} was called {planner.counts[what]} times" for what in wanted if planner.counts[what] != 1]
    empty = [f"load_bytes of {name} was given no bytes" for name in named if not planner.objects.get(name)]
    return differences(stored, planner.places), [*counts, *planner.problems, *empty]


def _object_item(name: str) -> ReadItem:
    zero = torch.Size([0])
    return ReadItem(
        type=LoadItemType.BYTE_IO, dest_index=MetadataIndex(name), dest_offsets=zero,
        storage_index=MetadataIndex(name), storage_offsets=zero, lengths=zero,
    )  # fmt: skip


def awkward_targets(session: Session, rows: int, columns: int) -> list[Difference]:
    """Read into transposed, strided and expanded-from targets, and into one on a GPU where there is one.

    What lies around the targets in their memory must stay as it is.
    """
    stored = {
        name: coded(key, (rows, columns), version=1)
        for key, name in enumerate(("transposed", "every other", "inner", "padded", "whole"))
    }
    reader, metadata = _saved(session, stored, name=f"{rows}by{columns}")
    blank = torch.full((3 * rows + 2 * columns, 3 * columns + rows), -1.0, dtype=torch.float64, device=session.device)
    memory = {name: blank.clone() for name in stored}
    planner = _Hands(
        places={
            "transposed": memory["transposed"][:columns, :rows].t(),
            "every other": memory["every other"][: 2 * rows : 2, 1 : 1 + 2 * columns : 2],
            "inner": memory["inner"][3 : 3 + rows, 5 : 5 + columns],
            "padded": memory["padded"][:rows, :columns],
            "whole": _elsewhere(torch.full((rows, columns), -1.0, dtype=torch.float64)),
        }
    )
    _deliver(reader, [_item(metadata, name, name, (0, 0), (rows, columns)) for name in stored], planner)
    found = differences(stored, planner.places)
    for place in planner.places.values():
        place.fill_(-1)
    return found or differences({f"around {name}": blank for name in stored}, _around(memory))


def _around(memory: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"around {name}": tensor for name, tensor in memory.items()}


def _elsewhere(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.cuda() if torch.cuda.is_available() else tensor


def empty_plan(session: Session) -> str:
    """Read nothing: what the future gave, as text, and that the planner was never called."""
    reader, _metadata = _saved(session, {"t": coded(1, (4,), version=1)})
    planner = _Hands()
    _deliver(reader, [], planner)
    return "; ".join(planner.counts)


def overlapping_calls(session: Session) -> list[str]:
    """Report what a planner that takes its time saw of calls from two threads at once."""
    stored = {f"t{key}": coded(key, (8,), version=1) for key in range(4)}
    reader, metadata = _saved(session, stored, objects=True)
    planner = _Hands(
        pause=0.02, places={name: torch.full_like(item, -1).to(session.device) for name, item in stored.items()}
    )
    named = [
        name for name, entry in metadata.state_dict_metadata.items() if not isinstance(entry, TensorStorageMetadata)
    ]
    items = [_item(metadata, name, name, (0,), (8,)) for name in stored]
    _deliver(reader, items + [_object_item(name) for name in named], planner)
    return planner.problems
