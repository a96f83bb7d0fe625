"""Use one writer and one reader again and again, ask them odd questions, and give them only what is documented."""

from __future__ import annotations

import inspect
import os
import pickle
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint import DefaultLoadPlanner, DefaultSavePlanner

from dcp_conformance.harness.backend.signatures import made_class
from dcp_conformance.harness.faults.proxy import interpose
from dcp_conformance.harness.faults.storage import announce
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.driving import drive_load, drive_save
from dcp_conformance.harness.subject.looking import in_fresh_folder, listing, uses_storage
from dcp_conformance.harness.subject.session import Session, into_subject, takes

UNSERVED = "no-such-scheme-of-dcp-conformance://host/checkpoint"
PICKLED_CALL = (
    "import sys, pickle; path, file = sys.argv[1:]; sys.path[:] = pickle.loads(bytes.fromhex(path)); "
    "from dcp_conformance.suites.core.calls.on_ranks_storage_calls import in_new_process; in_new_process(file)"
)


class InjectedError(OSError):
    """What a planner of these scenarios raises in the middle of an operation."""


def _stop(method: str, how: str) -> None:
    """End the operation: with an error, or ("interrupted") as Ctrl-C does, which only the main thread ever meets."""
    announce("fault", phase=method, what="raise")
    if how == "interrupted" and threading.current_thread() is threading.main_thread():
        raise KeyboardInterrupt(f"injected by dcp-conformance in {method}")
    raise InjectedError(5, f"injected by dcp-conformance in {method}")


class _FailsOnLast(DefaultSavePlanner):
    """Cannot give the data of the last item, once."""

    how = "failed"

    def finish_plan(self, new_plan: Any) -> Any:
        plan = super().finish_plan(new_plan)
        self.last = plan.items[-1].index
        return plan

    def resolve_data(self, write_item: Any) -> Any:
        if write_item.index == self.last:
            _stop("resolve_data", self.how)
        return super().resolve_data(write_item)


class _FailsOnTarget(DefaultLoadPlanner):
    """Has nowhere to put the first thing that arrives."""

    how = "failed"

    def resolve_tensor(self, read_item: Any) -> Any:
        _stop("resolve_tensor", self.how)


class PathOfAnotherKind:
    """An os.PathLike that is no pathlib.Path."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return self.path


def state_of(version: int) -> dict[str, Any]:
    """Return the tensors whose values name their version.

    Keys and sizes differ too, so that old metadata fits no newer data.
    """
    return {f"t{key}": coded(key, (key + version + 1, 3), version=version) for key in range(2 + version)}


def used_again(session: Session) -> dict[str, list[Difference]]:
    """Use one writer and one reader for several checkpoints in turn, reset between, and reset several times."""
    first, second = session.new_id("first"), session.new_id("second")
    found: dict[str, list[Difference]] = {}
    writer, reader = session.writer(first), session.reader(first)
    for version, checkpoint_id in ((1, first), (2, second)):
        writer.reset(checkpoint_id)
        writer.reset()
        drive_save(writer, state_of(version))
    for turn, version, checkpoint_id in ((1, 1, first), (2, 2, second), (3, 1, first)):
        reader.reset(checkpoint_id)
        reader.reset()
        found[f"turn {turn} of one reader with a reset between"] = _loaded(reader, version)
    return found


def used_again_after_one_rank(session: Session) -> dict[str, list[Difference]]:
    """Use one writer and reader first with the metadata of a single rank, then with that of all, reset between."""
    alone, together = session.new_id("alone"), session.new_id("together")
    writer, reader, one_rank = session.writer(alone), session.reader(alone), {"rank": 0, "use_collectives": False}
    methods = (writer.set_up_storage_writer, reader.set_up_storage_reader)
    roomy = all(_has_room(method) for method in methods) and takes(reader.read_metadata, "rank")
    if not roomy or "rank_local_metadata" in session.storage.unsupported:
        return {}
    drive_save(writer, state_of(1), extra=one_rank)
    writer.reset(together)
    drive_save(writer, state_of(2))
    own, target = blank(state_of(1)), blank(state_of(2))
    drive_load(reader, own, extra=one_rank, asked={"rank": 0})
    reader.reset(together)
    drive_load(reader, target)
    return {
        "a load of what one rank saved": differences(state_of(1), own),
        "a load of what all saved, with the same reader after a reset": differences(state_of(2), target),
    }


def seen_as_it_is(session: Session) -> dict[str, list[Difference]]:
    """Use one reader twice without a reset, on an id that was saved again in between."""
    if "overwrite" in session.storage.unsupported:
        return {}
    checkpoint_id, found = session.new_id(), {}
    reader = session.reader(checkpoint_id)
    for version in (1, 2):
        drive_save(session.writer(checkpoint_id), state_of(version))
        found[f"turn {version} of one reader without a reset"] = _loaded(reader, version)
    return found


def asked_about_ids(session: Session) -> dict[str, Any]:
    """Ask the classes' validate_checkpoint_id. Reports the answers, and what appeared in the folder meanwhile."""
    checkpoint_id = session.new_id()
    kinds = {"writer": type_of(session.writer(checkpoint_id)), "reader": type_of(session.reader(checkpoint_id))}
    answers, raised = {}, {}
    with in_fresh_folder(session) as folder:
        Path(folder, "file").touch()
        before = listing(folder)
        for who, kind in kinds.items():
            announce("call", owner=session.storage_owner, part="S", name="validate_checkpoint_id", direct=True)
            for name, odd in _odd_ids(folder).items():
                given: list[Any] = []
                attempt = session.attempt(
                    lambda k=kind, o=odd, g=given: g.append(into_subject(k.validate_checkpoint_id, o))
                )
                raised[f"{who}: {name}"], answers[f"{who}: {name}"] = attempt, type(given[0]).__name__ if given else ""
        return {"raised": raised, "answers": answers, "appeared": [n for n in listing(folder) if n not in before]}


def believed_of_ids(session: Session) -> dict[str, dict[str, bool]]:
    """Report what the classes say of an id that they have just served, and of one that nobody can; by class."""
    checkpoint_id = session.new_id()
    session.save(state_of(1), checkpoint_id)
    session.load(blank(state_of(1)), checkpoint_id)
    kinds = {"writer": type_of(session.writer(checkpoint_id)), "reader": type_of(session.reader(checkpoint_id))}
    announce("call", owner=session.storage_owner, part="S", name="validate_checkpoint_id", direct=True)
    ids = {"served": checkpoint_id, "foreign": UNSERVED}
    return {
        who: {name: bool(into_subject(kind.validate_checkpoint_id, asked)) for name, asked in ids.items()}
        for who, kind in kinds.items()
    }


def load_of_nothing(session: Session) -> dict[str, Any]:
    """Report how loads of an id end at which nothing was saved, and what is there afterwards."""
    checkpoint_id = session.new_id("never-saved")
    loads = [session.attempt(session.load, blank(state_of(1)), checkpoint_id) for _ in range(2)]
    if uses_storage(session, "load"):
        # By a reader that was made for another id, and has loaded from it.
        saved = session.new_id("saved")
        session.save(state_of(1), saved)
        reader = session.reader(saved)
        session.load(blank(state_of(1)), saved, reader=reader)
        loads.append(session.attempt(session.load, blank(state_of(1)), checkpoint_id, reader=reader, style="passed"))
    blobs = None if "stored_bytes" in session.storage.unsupported else session.blobs(checkpoint_id)
    traces = [] if blobs is None else list(blobs.names())
    if "local_files" not in session.storage.unsupported and os.path.lexists(checkpoint_id):
        traces.append(str(checkpoint_id))
    return {"loads": loads, "traces": traces, "name": os.path.basename(str(checkpoint_id).rstrip("/"))}


def positional_arguments_alone(session: Session) -> list[Difference]:
    """Make a round trip by an engine that gives the documented positional arguments and nothing else."""
    checkpoint_id = session.new_id()
    drive_save(session.writer(checkpoint_id), state_of(1))
    return _loaded(session.reader(checkpoint_id), 1)


def unknown_keywords(session: Session) -> list[Difference]:
    """Make a round trip by an engine that also gives keywords of later versions."""
    checkpoint_id, target = session.new_id(), blank(state_of(1))
    writer, reader = session.writer(checkpoint_id), session.reader(checkpoint_id)
    keywords = {"rank": 0, "use_collectives": True, "future_option": "of a later engine"}
    saving = keywords if _has_room(writer.set_up_storage_writer) else {}
    loading = keywords if _has_room(reader.set_up_storage_reader) else {}
    if not saving and not loading:
        session.excuse("the set-up methods take no further keywords")
    drive_save(writer, state_of(1), extra=saving)
    drive_load(reader, target, extra=loading)
    return differences(state_of(1), target)


def writer_after_failure(session: Session, reset: bool, how: str) -> dict[str, Any] | None:
    """Save again with a writer whose save failed (or was interrupted) in the middle.

    After a reset it saves to a fresh id, and without one to its own.
    """
    if not reset and "overwrite" in session.storage.unsupported:
        return None
    checkpoint_id = session.new_id("failing")
    tap = _Results()
    writer = interpose(session.writer(checkpoint_id), ("finish",), tap)
    # Of more keys than the next one has, so that what is left of it shows.
    planner = _FailsOnLast()
    planner.how = how
    failed = session.attempt(drive_save, writer, state_of(3), planner=planner)
    if reset:
        checkpoint_id = session.new_id("fresh")
        writer.reset(checkpoint_id)
    again = session.attempt(drive_save, writer, state_of(2))
    found = _loaded(session.reader(checkpoint_id), 2) if again.ok else []
    surplus = sorted((Counter(tap.keys) - Counter(list(state_of(2)))).elements()) if again.ok else []
    return {"failed": failed, "again": again, "differences": found, "surplus": surplus}


class _Results:
    """A tap that notes the keys of the results which finish is given."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def call(self, method: str, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """See harness.faults.proxy.Tap."""
        results = args[1] if len(args) > 1 else kwargs["results"]
        self.keys = [result.index.fqn for of_rank in results for result in of_rank]
        return inner(*args, **kwargs)


def reader_after_failure(session: Session, reset: bool, how: str) -> dict[str, Any]:
    """Load again with a reader whose load failed, or was interrupted, in the middle."""
    checkpoint_id, target = session.new_id(), blank(state_of(1))
    drive_save(session.writer(checkpoint_id), state_of(1))
    reader = session.reader(checkpoint_id)
    planner = _FailsOnTarget()
    planner.how = how
    failed = session.attempt(drive_load, reader, blank(state_of(1)), planner=planner)
    if reset:
        reader.reset(checkpoint_id)
    again = session.attempt(drive_load, reader, target)
    different = differences(state_of(1), target) if again.ok else []
    return {"failed": failed, "again": again, "differences": different, "surplus": []}


def file_in_the_way(session: Session) -> dict[str, Any]:
    """Report how a save ends whose id is a regular file."""
    if "local_files" in session.storage.unsupported:
        session.excuse("ids are no local paths")
    checkpoint_id = session.new_id("regular-file")
    file = Path(checkpoint_id)
    file.write_bytes(b"something else")
    announce("call", owner=session.storage_owner, part="S", name="constructor", direct=True)
    save = session.attempt(session.save, state_of(1), checkpoint_id)
    kept = file.is_file() and file.read_bytes() == b"something else"
    return {"save": save, "name": os.path.basename(checkpoint_id), "kept": kept, "folder": file.is_dir()}


def no_threads(session: Session) -> Attempt:
    """Report how a save with a writer of zero threads ends."""
    kind = made_class(session.storage.writer)
    offered = any("thread_count" in options for options in session.storage.option_sets)
    own = kind is not None and "__init__" in vars(kind) and "thread_count" in inspect.signature(kind).parameters
    if not offered and not own:
        session.excuse("the writer offers no number of threads")
    checkpoint_id = session.new_id()
    announce("call", owner=session.storage_owner, part="S", name="constructor", direct=True)
    return session.attempt(lambda: drive_save(session.writer(checkpoint_id, thread_count=0), state_of(1)))


def pickled_elsewhere(session: Session) -> dict[str, list[Difference]]:
    """Save with a pickled writer and load with a pickled reader in a new process; this one does the counterparts."""
    there, here = session.new_id("saved-there"), session.new_id("saved-here")
    drive_save(session.writer(here), state_of(2))
    package = pickle.dumps(_pickled(session.writer(there), session.reader(here)))
    folder = os.path.join(session.spec.scratch, f"{session.spec.place}-pickled")
    Path(folder).write_bytes(package)
    command = [sys.executable, "-c", PICKLED_CALL, pickle.dumps([*sys.path, session.spec.folder]).hex(), folder]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=45, check=False)
    if ended.returncode != 0:
        how = f"by signal {-ended.returncode}" if ended.returncode < 0 else f"with exit code {ended.returncode}"
        said = " / ".join(ended.stderr.strip().splitlines()[-3:])[:400] or "nothing"
        ending = Difference("the process", (), "a save and a load there", f"ended {how}, having written: {said}")
        return {"what a pickled writer and reader do in a new process": [ending]}
    loaded_there: list[Difference] = pickle.loads(Path(f"{folder}.found").read_bytes())
    return {
        "what a pickled reader loaded in a new process": loaded_there,
        "what a pickled writer saved in a new process": _loaded(session.reader(there), 1),
    }


def in_new_process(file: str) -> None:
    """Be the other side of `pickled_elsewhere`."""
    writer, reader = pickle.loads(Path(file).read_bytes())
    drive_save(writer, state_of(1))
    Path(f"{file}.found").write_bytes(pickle.dumps(_loaded(reader, 2)))


def type_of(storage: Any) -> Any:
    """Return the class of a writer or reader, behind its tap."""
    return storage.__class__


def _pickled(writer: Any, reader: Any) -> tuple[Any, Any]:
    # Pickled under into_subject first: what cannot be pickled is the backend's finding, not a fault of the scenario.
    into_subject(pickle.dumps, writer)
    into_subject(pickle.dumps, reader)
    return writer, reader


def _loaded(reader: Any, version: int) -> list[Difference]:
    target = blank(state_of(version))
    drive_load(reader, target)
    return differences(state_of(version), target)


def _has_room(function: Any) -> bool:
    return takes(function, "future_option")


def _odd_ids(folder: str) -> dict[str, Any]:
    return {
        "an empty text": "", "a blank": " ", "a relative path": "some/where", "a URL of no store": "abc://x",
        "a Path": Path(folder, "there"), "another PathLike": PathOfAnotherKind(os.path.join(folder, "other")),
        "a regular file": os.path.join(folder, "file"), "a text with NUL": "x\0y",
        "a new folder": os.path.join(folder, "a", "b"),
        "a very long text": "x" * 5000, "a text that is no Unicode": "x\udcff",
    }  # fmt: skip
