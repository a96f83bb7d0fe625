"""Values that are not tensors: what comes back, in which form, and what the storage hands over."""

from __future__ import annotations

import hashlib
import io
import sys
import types
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session, into_subject

VANISHED = "dcp_conformance_vanished"
# What the names of objects begin with whose bytes a planner makes up, and which nobody could unpickle.
RAW = "raw"


class Unserialisable:
    """A value that no serialiser can store."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("this object cannot be serialised")


def values() -> dict[str, Any]:
    """Return one value of each kind that training states hold beside tensors."""
    return {
        "huge": 3**400, "negative": -1, "nan": float("nan"), "infinity": float("-inf"), "minus_zero": -0.0,
        "none": None, "true": True,
        "bytes": b"a\x00b\xff", "empty_bytes": b"", "text": "line\nü中🔑 \x00", "empty_text": "",
        "tuple": (1, "two", (3.0, None)),
        "complex": complex(1.5, -0.0), "frozenset": frozenset({1, 2}), "set": {"a"}, "dtype": torch.bfloat16,
        "device": torch.device("cpu", 0), "size": torch.Size([2, 0, 3]), "range": range(1, 9, 2),
        "slice": slice(1, None, 2),
        "list": [1, "two", [3.5, None]], "empty_list": [], "empty_tuple": (), "layout": torch.strided,
    }  # fmt: skip


def objects_come_back(session: Session) -> list[Difference]:
    """Save one value of each kind, load into a template that holds None in every place."""
    checkpoint_id, state, target = session.new_id(), values(), dict.fromkeys(values())
    session.save(state, checkpoint_id)
    session.load(target, checkpoint_id)
    return differences(state, target) or _signs(state, target, ["minus_zero", "complex"])


def _signs(state: dict[str, Any], target: dict[str, Any], keys: list[str]) -> list[Difference]:
    # Equality does not see the sign of a zero.
    return [
        Difference(key, (), repr(state[key]), repr(target[key]))
        for key in keys
        if repr(state[key]) != repr(target[key])
    ]


class Point(NamedTuple):
    """A named tuple, as optimizers and schedules hold."""

    step: int
    rest: Any


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A dataclass, as configurations are."""

    name: str
    values: list[Any]


def records_come_back(session: Session) -> list[Difference]:
    """Save named tuples and dataclasses alone and in containers, with and without tensors in them."""
    point, setting = Point(3, ("x", None)), Setting(name="rate", values=[1, (2.5, "b")])
    holding = Point(4, coded(1, (3,), version=1).to(session.device))
    state: dict[str, Any] = {
        "point": point, "setting": setting, "list": [point, 7, setting], "tuple": (setting, point),
        "nested": {"deep": {"point": Point(5, point), "setting": setting}}, "holding": holding,
        "beside a tensor": [coded(2, (2,), version=1).to(session.device), holding, setting],
    }  # fmt: skip
    target = {**dict.fromkeys(state), "nested": {"deep": {"point": None, "setting": None}}}
    target["beside a tensor"] = [torch.zeros(2, dtype=torch.float64, device=session.device), None, None]
    checkpoint_id = session.new_id()
    session.save(state, checkpoint_id)
    session.load(target, checkpoint_id)
    return differences(state, target)


def load_over_equals(session: Session) -> list[Difference]:
    """Load objects over ones that equal them but for type or sign, and over others where they count as false."""
    pairs: list[tuple[Any, Any]] = [
        (True, 1), (1, True), (1, 1.0), (2.0, 2), (0, False), (-0.0, 0.0), (0.0, -0.0), (1 + 0j, 1.0),
        (complex(1, -0.0), complex(1, 0.0)), ((1, 2), torch.Size([1, 2])), (torch.Size([1, 2]), (1, 2)),
        ({"a"}, frozenset({"a"})), (b"a", bytearray(b"a")), ([1, 0], [True, False]), ((1.0, (2, "x")), (1, (2.0, "x"))),
        (None, 0), (None, "held"), (None, [1, 2]), (0, 7), (False, True), ("", "held"), (b"", b"held"), ((), (1,)),
        ([], [1, 2]), (set(), {1}), (0.0, 1.5),
    ]  # fmt: skip
    state: dict[str, Any] = {f"value{place}": stored for place, (stored, _) in enumerate(pairs)}
    target: dict[str, Any] = {f"value{place}": held for place, (_, held) in enumerate(pairs)}
    state, target, checkpoint_id = {**state, "nested": state}, {**target, "nested": dict(target)}, session.new_id()
    session.save(state, checkpoint_id)
    session.load(target, checkpoint_id)
    return differences(state, target) or _signs(state, target, [f"value{place}" for place in range(len(pairs))])


def load_over_one_list(session: Session) -> list[Difference]:
    """Load lists of their own into a template that has the same list object in all places."""
    checkpoint_id, lengths = session.new_id(), {"one": 1, "none": 0, "three": 3, "two": 2}
    state: dict[str, Any] = {name: [f"{name}{place}" for place in range(count)] for name, count in lengths.items()}
    held: list[Any] = ["earlier", "earlier"]
    session.save({**state, "nested": state}, checkpoint_id)
    target: dict[str, Any] = {**dict.fromkeys(state, held), "nested": dict.fromkeys(state, held)}
    session.load(target, checkpoint_id)
    return differences({**state, "nested": state}, target)


def load_over(session: Session, pairs: list[tuple[Any, Any]]) -> list[Difference]:
    """Save the first value of each pair and load it over the second; once for each way of writing that is offered."""
    found: list[Difference] = []
    for number, options in enumerate(session.storage.option_sets):
        checkpoint_id = session.new_id(f"options{number}")
        state = {f"value{place}": {"inner": stored} for place, (stored, _) in enumerate(pairs)}
        target = {f"value{place}": {"inner": held} for place, (_, held) in enumerate(pairs)}
        written = {"writer": session.writer(checkpoint_id, **options)} if options and session.drives_storage else {}
        session.save(state, checkpoint_id, **written)
        session.load(target, checkpoint_id)
        found += differences(state, target)
    return found


def streams(session: Session) -> list[Difference]:
    """Save BytesIO values with positions of their own, load them over others; content is compared, and the type."""
    checkpoint_id = session.new_id()
    contents = {"losses": b"losses of 1000 steps\x00" * 50, "empty": b"", "at_its_end": b"read already"}
    state = {name: io.BytesIO(content) for name, content in contents.items()}
    state["at_its_end"].seek(0, io.SEEK_END)
    session.save(dict(state), checkpoint_id)
    target: dict[str, Any] = {name: io.BytesIO(b"earlier content") for name in state}
    session.load(target, checkpoint_id)
    return differences({name: io.BytesIO(content) for name, content in contents.items()}, target)


def tuple_with_tensors(session: Session) -> tuple[list[Difference], list[str]]:
    """Load a tuple that holds tensors: what differs, and which tensors are those of the template."""
    checkpoint_id = session.new_id()
    state = {"pair": (coded(1, (4,), version=1), {"inner": coded(2, (3,), version=1)}, 7)}
    held = (coded(1, (4,), version=2), {"inner": coded(2, (3,), version=2)}, 0)
    session.save(state, checkpoint_id)
    target: dict[str, Any] = {"pair": held}
    session.load(target, checkpoint_id)
    found = differences(state, target)
    if found:
        return found, []
    first, second, _ = target["pair"]
    same = [
        name for name, new, old in (("0", first, held[0]), ("1.inner", second["inner"], held[1]["inner"])) if new is old
    ]
    return [], same


def unserialisable_overwrite(session: Session) -> tuple[Attempt, Attempt, list[Difference]]:
    """Save, save again with a value that cannot be serialised, and load what is there: how the last two ended."""
    checkpoint_id, state = session.new_id(), {"tensor": coded(1, (64,), version=1), "z": 1}
    session.save(state, checkpoint_id)
    bad = {"tensor": coded(1, (64,), version=2), "z": Unserialisable()}
    attempt = session.attempt(session.save, bad, checkpoint_id)
    target = blank(state)
    return attempt, session.attempt(session.load, target, checkpoint_id), differences(state, target)


def handed_streams(session: Session) -> list[str]:
    """Report how streams that `load_bytes` got are not those that `resolve_data` gave."""
    if not (session.takes("save", "planner") and session.takes("load", "planner")):
        session.excuse("the engine takes no planner, so nobody sees what the storage hands over")
    checkpoint_id, given, taken = session.new_id(), {}, {}  # type: tuple[Any, dict[str, bytes], dict[str, tuple[int, bytes]]]
    state = {f"object{size}": "x" * size for size in (0, 1, 100, 70_000)} | {"last": [1, 2]}
    state |= {f"{RAW}{size}": "stands for that many bytes" for size in (0, 1, 4095, 4096, 4097)}
    session.save(state, checkpoint_id, planner=_giving(session, given))
    target = dict.fromkeys(state)
    session.load(target, checkpoint_id, planner=_taking(session, taken))
    return [
        _handed(name, content, taken.get(name)) for name, content in given.items() if taken.get(name) != (0, content)
    ]


def kept_streams(session: Session) -> list[str]:
    """Report how streams that a planner kept are, once the load is over, not what they were when it got them."""
    if not session.takes("load", "planner"):
        session.excuse("the engine takes no planner, so nobody keeps what the storage hands over")
    checkpoint_id, kept, contents = session.new_id(), {}, {}  # type: tuple[Any, dict[str, Any], dict[str, bytes]]
    state = {f"object{size}": "x" * size for size in (0, 100, 70_000)} | {"last": [1, 2]}
    session.save(state, checkpoint_id)
    session.load(dict.fromkeys(state), checkpoint_id, planner=_keeping(session, kept, contents))
    now = {name: b"" if stream.closed else _content(stream) for name, stream in kept.items()}
    return [
        f"the stream of {name!r} {'is closed' if kept[name].closed else 'holds other bytes'}"
        for name, content in contents.items() if now[name] != content
    ]  # fmt: skip


def _content(stream: Any) -> bytes:
    stream.seek(0)
    found: bytes = stream.read()
    return found


def _keeping(session: Session, kept: dict[str, Any], contents: dict[str, bytes]) -> Any:
    base: Any = session.tool("DefaultLoadPlanner")

    class Keeping(base):  # type: ignore[misc]
        """Keeps each stream, to read it when there is time."""

        def load_bytes(self, read_item: Any, value: Any) -> None:
            name = read_item.dest_index.fqn
            kept[name], contents[name] = value, _content(value)
            super().load_bytes(read_item, io.BytesIO(contents[name]))

    return into_subject(Keeping)


def _handed(name: str, given: bytes, taken: tuple[int, bytes] | None) -> str:
    if taken is None:
        return f"no stream of {name!r}"
    at, content = taken
    digests = [hashlib.sha256(item).hexdigest()[:8] for item in (content, given)]
    found = f"at position {at} with {len(content)} bytes ({digests[0]})"
    return f"the stream of {name!r} {found} instead of {len(given)} ({digests[1]})"


def _giving(session: Session, given: dict[str, bytes]) -> Any:
    base: Any = session.tool("DefaultSavePlanner")

    class Giving(base):  # type: ignore[misc]
        """Notes the bytes of each object that a storage asks for; for some it gives others, also none at all."""

        def resolve_data(self, write_item: Any) -> Any:
            data = super().resolve_data(write_item)
            if write_item.index.fqn.startswith(RAW):
                data = io.BytesIO(bytes(range(1, 256)) * 17)
                data.truncate(int(write_item.index.fqn.removeprefix(RAW)))
            if isinstance(data, io.BytesIO):
                given[write_item.index.fqn] = data.getvalue()
            return data

    return into_subject(Giving)


def _taking(session: Session, taken: dict[str, tuple[int, bytes]]) -> Any:
    base: Any = session.tool("DefaultLoadPlanner")

    class Taking(base):  # type: ignore[misc]
        """Notes where each stream stands and what can be read from there."""

        def load_bytes(self, read_item: Any, value: Any) -> None:
            at, content = value.tell(), value.read()
            taken[read_item.dest_index.fqn] = (at, content)
            if not read_item.dest_index.fqn.startswith(RAW):
                super().load_bytes(read_item, io.BytesIO(content))

    return into_subject(Taking)


def class_vanished(session: Session) -> Attempt:
    """Save an object of a class in a module that is gone at the load."""
    module = types.ModuleType(VANISHED)
    kind = type("Gone", (), {"__module__": VANISHED})
    module.Gone = kind  # type: ignore[attr-defined]
    checkpoint_id = session.new_id()
    sys.modules[VANISHED] = module
    try:
        session.save({"tensor": coded(1, (4,), version=1), "object": kind()}, checkpoint_id)
    finally:
        del sys.modules[VANISHED]
    return session.attempt(session.load, {"tensor": torch.zeros(4, dtype=torch.float64), "object": None}, checkpoint_id)
