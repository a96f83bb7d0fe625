"""One save recorded with its data, and loads of what a crash may have left of it, rebuilt in the same place."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dcp_conformance.harness.faults.proxy import interpose
from dcp_conformance.harness.faults.storage import announce
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.laws.verbs import described, of_subject
from dcp_conformance.harness.recording.client import Watching
from dcp_conformance.harness.replay.inodes import Content
from dcp_conformance.harness.replay.rebuild import rebuild
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.reading import reads_elsewhere, reads_watched
from dcp_conformance.harness.subject.session import Session
from dcp_conformance.harness.subject.watch_ranks import apart, folder_of, recorded

OLD, NEW = 1, 2
# Every checkpoint here has the same keys, whoever saves them: PARTS shares of the ranks in turn, each of 2 tensors
# that do not fit into one page, so that files can be torn and layouts can differ.
PARTS, LENGTH = 4, 600
# How long the rank that is held back waits, at most, for the others to have written; and then for what they do in
# the background. A store in which they wait for it loses that time, and is not cut between ranks.
HELD, SETTLED = 3.0, 0.1


def state_of(parts: Sequence[int], version: int, *, objects: bool = True) -> dict[str, Any]:
    """Return what a rank saves that has these parts, and a small tensor that all have."""
    # Each element says tensor, place and version: with equal layouts a mixture would otherwise look like a sound load.
    state: dict[str, Any] = {"common": coded(0, (50,), version=version)}
    for part in parts:
        state[f"own{part}"] = coded(10 + part, (LENGTH,), version=version)
        state[f"more{part}"] = coded(20 + part, (LENGTH,), version=version)
        if objects:
            state[f"step{part}"] = [version, part]
    return state


def why_not(session: Session, capabilities: Sequence[str]) -> str | None:
    """Return why the backend has one of these not; None where it has them all."""
    return next((f"{name}: {session.storage.unsupported[name]}" for name in capabilities
                 if name in session.storage.unsupported), None)  # fmt: skip


def option_sets(session: Session) -> list[str]:
    """Return the settings of the writer that the backend offers, in words."""
    return [_said(options) for options in session.storage.option_sets]


def save_old(session: Session, place: str, options: int) -> None:
    """Save the checkpoint that will be replaced."""
    inner = apart(session, place)
    inner.save(_own(session, OLD), inner.new_id(), **_writing(inner, options))


def restore(session: Session, place: str, tree: Mapping[str, Content]) -> None:
    """Put back what was there before a recorded save."""
    rebuild(folder_of(session, place), tree)


def record_save(session: Session, place: str, name: str, options: int, held: int | None) -> str:
    """Record one save of the new version; the path of the recording. held: a rank that is late to write."""
    inner = apart(session, place)
    checkpoint_id, state = inner.new_id(), _own(session, NEW)
    flags = [Path(session.spec.scratch, f"{session.spec.place}-{name}.{rank}") for rank in range(session.world_size)]
    with recorded(session, name, place=place) as watching:
        chosen = _writing(inner, options)
        if chosen:
            tap = _Marking(watching, session.rank, held, flags)
            chosen = {"writer": interpose(chosen["writer"], ("write_data", "finish"), tap)}
        inner.save(state, checkpoint_id, **chosen)
        watching.returned()
    return watching.path


def load_trees(
    session: Session,
    place: str,
    versions: Sequence[int],
    trees: Mapping[int, Mapping[str, Content]],
    metadata: bool,
    limit: float,
) -> int:
    """Rebuild each tree and load it; emits `loading` and `loaded` for each, by its number. Returns how many were done.

    metadata: also read only the metadata. limit: seconds after which no other is begun.
    """
    inner, folder, deadline = apart(session, place), folder_of(session, place), time.monotonic() + limit
    objects = "objects" not in session.storage.unsupported
    states = {version: state_of(range(PARTS), version, objects=objects) for version in versions}
    checkpoint_id = inner.new_id()
    for count, (number, tree) in enumerate(trees.items()):
        if time.monotonic() > deadline:
            return count
        rebuild(folder, tree)
        # Before the load: if it kills the rank, this is how it is known which tree did it.
        announce("loading", number=number)
        kind, said, mixed = _loaded(inner, checkpoint_id, states)
        names = _metadata(inner, checkpoint_id, states[NEW]) if metadata else "none"
        announce("loaded", number=number, gave=kind, said=said, mixed=mixed, metadata=names)
    return len(trees)


def load_watched(
    session: Session, place: str, versions: Sequence[int], trees: Mapping[int, Mapping[str, Content]], limit: float
) -> list[tuple[int, str]]:
    """Return the numbers of the trees of which a load read what lies elsewhere, and what that was. limit: as above."""
    inner, folder, deadline, found = apart(session, place), folder_of(session, place), time.monotonic() + limit, []
    objects = "objects" not in session.storage.unsupported
    states = {version: state_of(range(PARTS), version, objects=objects) for version in versions}
    checkpoint_id = inner.new_id()
    for number, tree in trees.items():
        rebuild(folder, tree)
        with reads_watched(session, folder) as watching:
            _loaded(inner, checkpoint_id, states)
        if said := reads_elsewhere(watching):
            found.append((number, said))
        if time.monotonic() > deadline:
            break
    return found


def save_upon(
    session: Session, place: str, trees: Mapping[int, Mapping[str, Content]], limit: float
) -> list[tuple[int, Attempt, Attempt, list[Difference]]]:
    """Rebuild each tree, and where it does not load, save other values of fewer keys there.

    Gives the number of each, how the save went, how a load of it went, and what that gave otherwise. limit: seconds
    after which no other is begun; nor is one after a save that failed.
    """
    inner, folder, deadline = apart(session, place), folder_of(session, place), time.monotonic() + limit
    checkpoint_id, found = inner.new_id(), []
    for number, tree in trees.items():
        rebuild(folder, tree)
        # Fewer keys and other values: with the same ones, bytes that an interrupted save left behind could pass for the
        # new.
        state = state_of((0,), 3, objects="objects" not in session.storage.unsupported)
        if inner.attempt(inner.load, blank(state), checkpoint_id).ok:
            continue
        saved = inner.attempt(inner.save, state, checkpoint_id)
        target = blank(state)
        loaded = inner.attempt(inner.load, target, checkpoint_id)
        found.append((number, saved, loaded, differences(state, target) if loaded.ok else []))
        # One refusal is the finding; each further save may cost the same wait again.
        if not saved.ok or time.monotonic() > deadline:
            break
    return found


def _loaded(session: Session, checkpoint_id: Any, states: Mapping[int, Mapping[str, Any]]) -> tuple[str, str, bool]:
    """Load the id and tell which of the two versions it holds.

    Returns OLD, NEW, ERROR, SILENT, or FAULT for an error that is not the backend's; what there is to say; and whether
    what was loaded is made of both versions, and of nothing else.
    """
    # NEW has every key that OLD has, so that one target serves both versions.
    target = blank(dict(states[NEW]))
    attempt = session.attempt(session.load, target, checkpoint_id)
    if attempt.error is not None:
        return ("ERROR" if of_subject(attempt.error) else "FAULT"), described(attempt.error), False
    unlike = {version: differences(state, target, limit=1) for version, state in states.items()}
    for version, found in unlike.items():
        if not found:
            return ("NEW" if version == NEW else "OLD"), "", False
    said = " and ".join(f"not version {version} ({found[0].sentence()})" for version, found in unlike.items())
    return "SILENT", said, _is_mixture(target, states)


def _is_mixture(target: Mapping[str, Any], states: Mapping[int, Mapping[str, Any]]) -> bool:
    """Tell whether every element is that of one of two versions."""
    if OLD not in states:
        return False
    for key, found in target.items():
        old, new = states[OLD][key], states[NEW][key]
        same = bool(((found == old) | (found == new)).all()) if hasattr(found, "shape") else found in (old, new)
        if not same:
            return False
    return True


def _metadata(session: Session, checkpoint_id: Any, wanted: Mapping[str, Any]) -> str:
    """Return what reading the metadata gave: `whole`, `none` (it raised), or what is missing in it."""
    if session.storage.reader is None:
        return "none"
    found: list[set[str]] = []
    session.attempt(lambda: found.append(set(session.reader(checkpoint_id).read_metadata().state_dict_metadata)))
    if not found:
        return "none"
    missing = sorted(key for key in wanted if not any(_is_part(name, key) for name in found[0]))
    return f"it lacks {missing[0]!r}" if missing else "whole"


def _is_part(name: str, key: str) -> bool:
    return name == key or name.startswith(f"{key}.")


def _own(session: Session, version: int) -> dict[str, Any]:
    objects = "objects" not in session.storage.unsupported
    return state_of(range(session.rank, PARTS, session.world_size), version, objects=objects)


def _writing(session: Session, options: int) -> dict[str, Any]:
    """Return the writer of a save with some of the settings that the backend offers.

    Nothing for an engine without writers.
    """
    if session.storage.writer is None or not session.takes("save", "storage_writer"):
        return {}
    return {"writer": session.writer(session.new_id(), **session.storage.option_sets[options])}


def _said(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items()) or "default"


class _Marking:
    """A tap that notes in the recording when writing and committing begin, and holds one rank back.

    No rank writes before all are ready to, as far as they come there: what each does before is over then. flags: a
    path for each rank, from which the names of two files are made that say how far it is.
    """

    def __init__(self, watching: Watching, rank: int, held: int | None, flags: Sequence[Path]) -> None:
        self.watching, self.rank, self.held, self.flags = watching, rank, held, flags

    def call(self, method: str, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """See harness.faults.proxy.Tap."""
        self.watching.mark(f"{method} began on rank {self.rank}")
        if method != "write_data" or self.held is None:
            return inner(*args, **kwargs)
        # Bounded: where the others wait for this rank inside write_data, holding it back would hang the save.
        deadline = time.monotonic() + HELD
        self._say("ready")
        self._wait("ready", deadline)
        if self.rank == self.held:
            self._wait("done", deadline)
            # A write_data that has returned may still be writing in threads of its own.
            time.sleep(SETTLED)
        result = inner(*args, **kwargs)
        self._say("done")
        return result

    def _say(self, what: str) -> None:
        Path(f"{self.flags[self.rank]}.{what}").touch()

    def _wait(self, what: str, deadline: float) -> None:
        others = [Path(f"{flag}.{what}") for rank, flag in enumerate(self.flags) if rank != self.rank]
        while time.monotonic() < deadline and not all(flag.exists() for flag in others):
            time.sleep(0.005)
