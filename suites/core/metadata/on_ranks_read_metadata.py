"""Loads whose metadata is missing, damaged, old, seen by some ranks only, or may only be read."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.faults.limits import read_only
from dcp_conformance.harness.faults.proxy import interpose
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session
from dcp_conformance.suites.core.commit.saved import changes, common_state, own_state, stored

# The names of the metadata objects of torch's format.
GLOBAL_METADATA, LOCAL_METADATA = ".metadata", "__0.metadata"
# What a stored object is cut to: a number of bytes, from its length.
CUTS: dict[str, Callable[[int], int | None]] = {
    "deleted": lambda length: None,
    "cut to 0 bytes": lambda length: 0,
    "cut to 1 byte": lambda length: 1,
    "cut to a third": lambda length: length // 3,
    "cut to half": lambda length: length // 2,
    "cut by its last byte": lambda length: length - 1,
}
OPTIONAL_FIELDS = ("storage_meta", "version", "planner_data")


def load_with(session: Session, fault: Fault) -> Attempt:
    """Report how a load of a sound checkpoint ended during which reading the metadata failed on some ranks."""
    checkpoint_id = session.new_id()
    session.save(own_state(session.rank), checkpoint_id)
    return session.attempt(session.load, blank(common_state(session.world_size)), checkpoint_id, faults=(fault,))


@dataclass(frozen=True, kw_only=True)
class LocalLoad:
    """How a load of rank-local metadata ended, and what it gave otherwise.

    asked: whether read_metadata was given this rank, as far as that is seen: then it is the reader that ignored it.
    """

    asked: bool
    load: Attempt
    found: list[Difference]


@dataclass
class _Ranks:
    """A tap of a reader: whether its read_metadata was given a rank."""

    asked: bool = False

    def call(self, method: str, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.asked = self.asked or "rank" in kwargs
        return inner(*args, **kwargs)


def load_rank_local(session: Session) -> LocalLoad:
    """Save and load with each rank's own metadata."""
    checkpoint_id, state, tap = session.new_id(), own_state(session.rank), _Ranks()
    session.save(state, checkpoint_id, use_collectives=False)
    target = blank(state)
    seen = (
        {"reader": interpose(session.reader(checkpoint_id), ("read_metadata",), tap)} if session.drives_storage else {}
    )
    load = session.attempt(session.load, target, checkpoint_id, **seen)
    return LocalLoad(asked=tap.asked, load=load, found=differences(state, target) if load.ok else [])


def damaged_objects(session: Session, kind: str) -> list[tuple[str, str, bool, list[str]]] | None:
    """Damage each stored object in each way: its name, the way, whether a load raised, what it gave otherwise.

    kind: "both", or tensors or objects alone, where nothing else raises in the place of what is damaged.

    Each is loaded strictly and partially: a checkpoint that looks empty must not pass for one that has nothing to give.
    None where the stored bytes cannot be reached.
    """
    if kind == "objects":
        session.needs("objects")
    state = {key: item for key, item in _small_state(session).items() if kind in ("both", _kind(item))}
    checkpoint_id = session.new_id()
    session.save(state, checkpoint_id)
    blobs = session.blobs(checkpoint_id)
    if blobs is None:
        return None
    seen = []
    for name in blobs.names():
        content = blobs.read(name)
        for way, cut in CUTS.items():
            length = cut(len(content))
            if length is None:
                blobs.delete(name)
            else:
                blobs.write(name, content[:length])
            for given in _strictly_and_partially(session):
                target = blank(state)
                attempt = session.attempt(session.load, target, checkpoint_id, **given)
                found = differences(state, target) if attempt.ok else []
                seen.append((name, way, attempt.ok, [difference.sentence() for difference in found]))
            blobs.write(name, content)
    return seen


def in_torch_format(session: Session) -> bool:
    """Tell whether the storage keeps torch's own files."""
    return "torch_format" not in session.storage.unsupported


def stripped_metadata(session: Session) -> list[tuple[str, Attempt, list[Difference], bool]]:
    """Metadata of older writers: each optional field removed, then set to None, then all of them removed.

    Returns what was done, how a load went, what it gave otherwise, and whether read_metadata gave a load id; None
    where the stored bytes cannot be reached.
    """
    checkpoint_id, state = session.new_id(), {"layer": {"t": coded(1, (8,), version=1), "u": coded(2, (3,), version=1)}}
    session.save(state, checkpoint_id)
    blobs = session.blobs(checkpoint_id)
    if blobs is None:
        session.give_up("the stored bytes cannot be reached")
    content, seen = blobs.read(GLOBAL_METADATA), []
    for what, strip in _strippings():
        metadata = pickle.loads(content)
        strip(metadata)
        blobs.write(GLOBAL_METADATA, pickle.dumps(metadata))
        target = blank(state)
        attempt = session.attempt(session.load, target, checkpoint_id)
        found = differences(state, target) if attempt.ok else []
        seen.append((what, attempt, found, attempt.ok and _gives_load_id(session, checkpoint_id)))
    return seen


def _strippings() -> Iterator[tuple[str, Callable[[Any], None]]]:
    for name in OPTIONAL_FIELDS:
        yield f"without {name}", functools.partial(_strip, (name,))
        yield f"with {name} None", functools.partial(_set_to_none, name)
    yield "without all of these", functools.partial(_strip, OPTIONAL_FIELDS)


def _strip(names: Iterable[str], metadata: Any) -> None:
    for name in names:
        del metadata.__dict__[name]


def _set_to_none(name: str, metadata: Any) -> None:
    setattr(metadata, name, None)


def _gives_load_id(session: Session, checkpoint_id: Any) -> bool:
    metadata = session.reader(checkpoint_id).read_metadata()
    return bool(getattr(getattr(metadata, "storage_meta", None), "load_id", None))


@dataclass
class HiddenGlobal:
    """A tap through which a rank sees no global metadata, and its own rank's in its place."""

    hidden: bool
    use_collectives: list[Any]

    def call(self, method: str, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """See harness.faults.proxy.Tap."""
        if method == "set_up_storage_reader":
            self.use_collectives.append(kwargs.get("use_collectives", True))
            return inner(*args, **kwargs)
        if not self.hidden:
            return inner(*args, **kwargs)
        if "rank" not in kwargs:
            raise FileNotFoundError("hidden by dcp-conformance: this rank does not see the global metadata")
        return inner()


def _strictly_and_partially(session: Session) -> Iterator[dict[str, Any]]:
    """Yield the arguments of a strict load and, where a planner can be given, of a partial one."""
    yield {}
    if session.takes("load", "planner"):
        yield {"planner": session.tool("DefaultLoadPlanner")(allow_partial_load=True)}


def load_with_different_views(session: Session) -> tuple[Attempt, list[Any], list[Difference]]:
    """Load while the last rank sees rank-local metadata only, the others the global one.

    Returns how the load ended, the modes that the storage was told, and what the load gives otherwise.
    """
    checkpoint_id = session.new_id()
    session.save(own_state(session.rank), checkpoint_id)
    tap = HiddenGlobal(session.rank == session.world_size - 1, [])
    reader = interpose(session.reader(checkpoint_id), ("read_metadata", "set_up_storage_reader"), tap)
    wanted = common_state(session.world_size)
    target = blank(wanted)
    attempt = session.attempt(session.load, target, checkpoint_id, reader=reader)
    return attempt, tap.use_collectives, differences(wanted, target) if attempt.ok else []


def newer_rank_local(session: Session) -> tuple[Attempt, list[Difference]]:
    """Save with collectives, then with rank-local metadata to the same id; report how a load goes, what it gives."""
    if not session.takes("save", "use_collectives"):
        session.excuse("save has no use_collectives, so there is no rank-local metadata")
    checkpoint_id = session.new_id()
    old = {"a": coded(1, (2,), version=1), "b": coded(2, (2,), version=1)}
    new = {"b": coded(2, (2,), version=2), "a": coded(1, (2,), version=2)}
    session.save(old, checkpoint_id)
    session.save(new, checkpoint_id, use_collectives=False)
    target = blank(new)
    attempt = session.attempt(session.load, target, checkpoint_id)
    return attempt, differences(new, target) if attempt.ok else []


def corrupt_global_beside_local(session: Session) -> Attempt:
    """Load where sound rank-local metadata lie beside a corrupt global one."""
    if not session.takes("save", "use_collectives"):
        session.excuse("save has no use_collectives, so there is no rank-local metadata")
    checkpoint_id, state = session.new_id(), own_state(0)
    session.save(state, checkpoint_id, use_collectives=False)
    blobs = session.blobs(checkpoint_id)
    if blobs is None or LOCAL_METADATA not in blobs.names():
        session.excuse("save has no use_collectives, so there is no rank-local metadata")
    blobs.write(GLOBAL_METADATA, blobs.read(LOCAL_METADATA)[:100])
    return session.attempt(session.load, blank(state), checkpoint_id)


def loads_change_nothing(session: Session) -> list[tuple[str, Attempt, list[str]]]:
    """Loads of four kinds: what was done, how it went, and what became of the stored objects."""
    checkpoint_id, state = session.new_id(), _small_state(session)
    session.save(state, checkpoint_id)
    before = stored(session, checkpoint_id)
    if not before:
        session.give_up("the stored bytes cannot be reached")
    absent = {**blank(state), "absent": coded(5, (2,), version=1)}
    wrong_shape = {"t": coded(1, (3, 3), version=1)}
    loads = {
        "load": blank(state),
        "partial load": {"t": blank(state)["t"]},
        "load of a missing key": absent,
        "load into a wrong shape": wrong_shape,
    }
    seen = []
    for what, target in loads.items():
        attempt = session.attempt(session.load, target, checkpoint_id)
        seen.append((what, attempt, changes(before, stored(session, checkpoint_id))))
    return seen


def load_read_only(session: Session) -> tuple[bool, Attempt, list[Difference]]:
    """Load in a thread that may not write to the checkpoint; report whether that was so, how it went, what it gave."""
    checkpoint_id, state = session.new_id(), _small_state(session)
    session.save(state, checkpoint_id)
    target = blank(state)
    with read_only(str(checkpoint_id)) as achieved:
        attempt = session.attempt(session.load, target, checkpoint_id)
    return achieved, attempt, differences(state, target) if attempt.ok else []


def _small_state(session: Session) -> dict[str, Any]:
    state: dict[str, Any] = {"t": coded(1, (64,), version=1), "u": coded(2, (2, 2), version=1)}
    return state if "objects" in session.storage.unsupported else {**state, "object": {"nested": [1, "two"]}}


def _kind(item: Any) -> str:
    return "tensors" if isinstance(item, torch.Tensor) else "objects"
