"""What may load after a crash, by what was being done: the law of every state that explore.py found.

To a new id: the new version or an error. Over an old checkpoint: the death of processes leaves the old version or the
new one; a power cut may also end in an error. Once save has returned, only the new version is right.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

from dcp_conformance.harness.crashes.explore import Exploration, Loaded, Situation, confirm
from dcp_conformance.harness.laws.verbs import Broken
from dcp_conformance.harness.recording.operations import Recording
from dcp_conformance.harness.replay.states import State
from dcp_conformance.harness.subject.subject import Subject

Allowed = Callable[[State, Loaded], bool]
_SAID = {
    "OLD": "the load gave the old version", "NEW": "the load gave the new version", "ERROR": "the load failed",
    "SILENT": "the load returned what was never saved", "HANG": "the load never ended",
}  # fmt: skip
_SHOWN = 60


def new_or_error(state: State, loaded: Loaded) -> bool:
    """To a new id: all or nothing."""
    return loaded.kind in ("NEW", "ERROR")


def old_new_or_error(state: State, loaded: Loaded) -> bool:
    """Over an old checkpoint: nothing that was never saved."""
    return loaded.kind in ("OLD", "NEW", "ERROR")


def never_mixed(state: State, loaded: Loaded) -> bool:
    """Refuse parts of both versions; after kills, anything else that was never saved too."""
    # After a power cut torn bytes may load as garbage that is of neither version; that is another clause's business.
    return not loaded.mixed and (loaded.kind in ("OLD", "NEW", "ERROR") or state.lost != "nothing")


def old_or_new(state: State, loaded: Loaded) -> bool:
    """Over an old checkpoint, where no power was cut: there is always one that loads."""
    return loaded.kind in ("OLD", "NEW")


def new_once_returned(state: State, loaded: Loaded) -> bool:
    """Allow only the new version once save has returned."""
    # A power cut is no excuse: durable is what the return of save means.
    return loaded.kind == "NEW" or not state.returned


def metadata_whole_or_none(state: State, loaded: Loaded) -> bool:
    """Metadata are read as they were written, or not at all."""
    return loaded.metadata in ("whole", "none")


def lawful(subject: Subject, found: Exploration, *laws: Allowed, models: tuple[str, ...]) -> None:
    """Broken with the smallest state that breaks one of the laws, shown again on a rank of its own."""
    broken = [pair for pair in found.judged(*models) if not all(law(*pair) for law in laws)]
    # Shown again on a rank that never loaded anything: what a reader kept in memory from an earlier state could have
    # misled it.
    for state, _ in broken[:3]:
        again = confirm(subject, found.situation, state)
        if not all(law(state, again) for law in laws):
            raise counter_example(found, state, again, len(broken))


def counter_example(found: Exploration, state: State, loaded: Loaded, count: int) -> Broken:
    """Return the finding: what had happened, what was lost, what was read, and how many states are like it."""
    observed = (
        _SAID[loaded.kind] if loaded.metadata in ("whole", "none") else f"read_metadata returned, but {loaded.metadata}"
    )
    said = f" ({loaded.said})" if loaded.said else ""
    return Broken(
        f"{observed}{said}, {_moment(found.situation)}: {state.sentence()}; {count} states are unlawful",
        kind=f"crash {loaded.kind}", rank=0,
        evidence={"operations": _listing(found, state), "files left": _files(state), "this state": _kept(found, state)},
    )  # fmt: skip


def _moment(situation: Situation) -> str:
    over = f"over a checkpoint of {_ranks(situation.before)}" if situation.before else "to a new id"
    return f"in a save of {_ranks(situation.ranks)} {over}"


def _ranks(count: int) -> str:
    return "1 rank" if count == 1 else f"{count} ranks"


def _listing(found: Exploration, state: State) -> str:
    """Return the operations that had happened, the latest ones if there are many."""
    left = dict(enumerate(state.done))
    made = []
    for operation in found.recordings[state.recording].operations:
        if not operation.failed and left.get(operation.rank, 0) > 0:
            left[operation.rank] -= 1
            made.append(operation.describe())
    hidden = len(made) - _SHOWN
    before = [f"({hidden} before these)"] if hidden > 0 else []
    return "\n".join(before + made[-_SHOWN:])


def _kept(found: Exploration, state: State) -> str:
    """Return where the state is kept, for a look at it alone: see harness.crashes.reload."""
    # A checksum for a name: the sentence holds paths and is too long for one.
    path = Path(f"{found.path}-{zlib.crc32(state.sentence().encode()):08x}.state")
    source = found.recordings[state.recording]
    kept = Recording(
        watched=source.watched, before=source.before, after=dict(state.tree), operations=(), means=state.sentence()
    )
    kept.save(path)
    command = f"python -m dcp_conformance.harness.crashes.reload BACKEND {path}"
    return f"with --keep-scratch it stays in {path}; {command} loads it"


def _files(state: State) -> str:
    return "\n".join(
        f"{path}: {len(content)} bytes" if isinstance(content, bytes) else f"{path}: a link to {content}"
        for path, content in sorted(state.tree.items())
        if content is not None
    )  # fmt: skip
