"""Saves and loads at the same time, in threads and in processes, of one id and of neighbours."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from dcp_conformance.harness.backend.blobs import is_local_path
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.laws.verbs import described
from dcp_conformance.harness.states.alike import alike, changed
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session, into_subject

# A thread that has not ended by then is reported as it stands; the watchdog of the ranks comes later.
LONGEST = 12.0
OLD, NEW = 1, 2


def save_in_threads(session: Session, threads: int) -> list[Attempt]:
    """Each thread saves other states to ids of its own and loads them, all at the same time.

    The states have equal keys, shapes and dtypes; some tensors are large, and some have to be copied to be stored.
    """
    rounds = 3
    ids = [[session.new_id(f"thread{number}.{turn}") for turn in range(rounds)] for number in range(threads)]

    def save_and_load(number: int) -> None:
        for turn in range(rounds):
            version = number * rounds + turn
            state = _state(version, size=400) | {"large": coded(3, (250, 300), version=version)}
            if "layouts" not in session.storage.unsupported:
                state["columns"] = coded(4, (300, 250), version=version).t()
            session.save(state, ids[number][turn])
            _load_exactly(session, state, ids[number][turn])

    return _together(session, [functools.partial(save_and_load, number) for number in range(threads)])


def load_in_threads(session: Session, threads: int) -> list[Attempt]:
    """Load one id in all threads at the same time, several times."""
    state, checkpoint_id = _state(1, size=2000), session.new_id("shared")
    session.save(state, checkpoint_id)

    def load() -> None:
        for _ in range(4):
            _load_exactly(session, state, checkpoint_id)

    return _together(session, [load] * threads)


def save_shared(session: Session) -> None:
    """Save what `load_shared` loads in other processes."""
    session.save(_state(1, size=2000), session.new_id("shared"))


def load_shared(session: Session) -> list[Attempt]:
    """Load one id again and again, while other processes do the same."""
    state, checkpoint_id = _state(1, size=2000), session.new_id("shared")
    return [session.attempt(_load_exactly, session, state, checkpoint_id) for _ in range(6)]


def save_twice_at_once(session: Session, number: int) -> dict[str, Any]:
    """Two threads save other states to one new id; what they got, and of which state a load then gives the whole."""
    states = {version: _state(version, size=60_000) for version in (OLD, NEW)}
    checkpoint_id = session.new_id(f"contested{number}")
    saves = _together(session, [functools.partial(session.save, state, checkpoint_id) for state in states.values()])
    target = blank(states[OLD])
    attempt = session.attempt(session.load, target, checkpoint_id)
    unlike = {version: differences(state, target, limit=1) for version, state in states.items()}
    return {"saves": saves, "load": attempt, "unlike": {key: [d.sentence() for d in unlike[key]] for key in unlike}}


def save_deep_at_once(session: Session, rounds: int) -> list[Difference]:
    """All ranks save together to a new id some levels down, again and again; what a load gives that was not saved."""
    found: list[Difference] = []
    for number in range(rounds):
        checkpoint_id = session.new_id(f"deep{number}")
        if isinstance(checkpoint_id, str) and is_local_path(checkpoint_id):
            checkpoint_id = os.path.join(checkpoint_id, "two", "three")
        state = {f"own{session.rank}": coded(session.rank, (5,), version=number)}
        session.save(state, checkpoint_id)
        if number in (0, rounds - 1):
            target = blank(state)
            session.load(target, checkpoint_id)
            found += differences(state, target)
    return found


def _held(session: Session, states: Sequence[dict[str, Any]], ids: Sequence[Any]) -> list[list[Difference]]:
    """Load each id, and return what it holds otherwise than its state."""
    found = []
    for state, checkpoint_id in zip(states, ids, strict=True):
        target = blank(state)
        session.load(target, checkpoint_id)
        found.append(differences(state, target))
    return found


def reuse_writer(session: Session, saves: int) -> list[list[Difference]]:
    """Consecutive saves through one writer, the id passed each time; what each id then holds that is not its own."""
    if not session.drives_storage:
        return []
    ids = [session.new_id(f"reused{number}") for number in range(saves)]
    states = [_state(number, size=20) for number in range(saves)]
    writer = session.writer(ids[0])
    for state, checkpoint_id in zip(states, ids, strict=True):
        session.save(state, checkpoint_id, writer=writer, style="passed")
    return _held(session, states, ids)


def load_beside_saves(session: Session, rounds: int, equal: bool) -> list[Attempt]:
    """Load A again and again while another thread saves, overwrites and discards its neighbours, then once more.

    equal: the neighbours hold the same values as A. The last attempts are those of the neighbours' thread.
    """
    state, checkpoint_id = _state(1, size=300), session.new_id("a10")
    session.save(state, checkpoint_id)
    # Names that begin with each other, as those of step 1 and step 10 do.
    neighbours = [session.new_id(f"{'b' if number == 10 else 'a'}{number}") for number in range(rounds)]
    kept = "overwrite" in session.storage.unsupported

    def disturb() -> None:
        for number, neighbour in enumerate(neighbours):
            session.save(_state(1 if equal else 2, size=300), neighbour)
            if number % 4 == 3 and not kept:
                session.save(_state(1 if equal else 3, size=300), neighbour)
            if number % 2:
                into_subject(session.storage.discard, neighbour)

    def load() -> None:
        for _ in range(rounds):
            _load_exactly(session, state, checkpoint_id)

    attempts = _together(session, [load, disturb])
    return [*attempts, session.attempt(_load_exactly, session, state, checkpoint_id)]


def resolve_in_threads(session: Session, threads: int) -> list[str]:
    """Ask one planner for the data of all items from several threads at once; what it answered wrong, in words."""
    state: dict[str, Any] = {f"t{number}": coded(number, (50,), version=1) for number in range(40)} | {"step": 12}
    planner = session.tool("DefaultSavePlanner")()
    into_subject(planner.set_up_planner, state, is_coordinator=True)
    plan = into_subject(planner.create_local_plan)
    plans, _ = into_subject(planner.create_global_plan, [plan])
    plan = into_subject(planner.finish_plan, plans[0])
    expected = [_resolved(planner, item) for item in plan.items]
    wrong: list[str] = []

    def resolve() -> None:
        for _ in range(10):
            for item, answer in zip(plan.items, expected, strict=True):
                if not _same(_resolved(planner, item), answer):
                    wrong.append(f"{item.index.fqn!r} was answered with the data of another item")

    attempts = _together(session, [resolve] * threads)
    raised = [f"it raised {described(attempt.error)}" for attempt in attempts if attempt.error is not None]
    own = [f"{key!r} is not what the state holds" for key, item in zip(_keys(plan), expected, strict=True)
           if isinstance(state.get(key), torch.Tensor) and not _same(item, state[key])]  # fmt: skip
    return raised + own + wrong[:3]


class WrongValues(Exception):
    """A load returned something that was not saved; the text says where."""


def _load_exactly(session: Session, state: dict[str, Any], checkpoint_id: Any) -> None:
    target = blank(state)
    session.load(target, checkpoint_id)
    found = differences(state, target, limit=1)
    if found:
        raise WrongValues(found[0].sentence())


def _together(session: Session, jobs: Sequence[Callable[[], None]]) -> list[Attempt]:
    """Start all jobs at one moment, each in a thread; how each ended. A job that does not end keeps its place."""
    start = threading.Barrier(len(jobs))
    ended: dict[int, Attempt] = {}

    def run(place: int) -> None:
        start.wait()
        ended[place] = session.attempt(jobs[place])

    threads = [threading.Thread(target=run, args=(place,), daemon=True) for place in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [ended[place] for place in range(len(jobs))]


def _state(version: int, *, size: int) -> dict[str, Any]:
    return {"first": coded(1, (size,), version=version), "second": coded(2, (size,), version=version)}


def _resolved(planner: Any, item: Any) -> Any:
    data = into_subject(planner.resolve_data, item)
    return data.getvalue() if hasattr(data, "getvalue") else data


def _same(left: Any, right: Any) -> bool:
    return torch.equal(left, right) if isinstance(left, torch.Tensor) else left == right


def _keys(plan: Any) -> list[str]:
    return [item.index.fqn for item in plan.items]


def flag(session: Session, name: str) -> Path:
    """A file that one rank makes and others wait for, in a folder that no backend stores in."""
    return Path(session.spec.scratch).parent / f"{session.spec.place}-{name}.flag"


def one_writer_in_one_place(session: Session) -> list[list[Difference]]:
    """Save through one writer to an id for each save, one place of the state changed each time.

    Returns what each id holds in the end that is not its own.
    """
    if not session.drives_storage:
        session.excuse("its engine keeps a store of its own, and takes no writer")
    ids = [session.new_id(f"save{save}") for save in range(3)]
    writer, tensor = session.writer(ids[0]), alike()
    saved: list[dict[str, Any]] = []
    for save, checkpoint_id in enumerate(ids):
        state = changed(tensor, save, objects="objects" not in session.storage.unsupported)
        session.save(state, checkpoint_id, writer=writer, style="passed")
        saved.append({**state, "tensor": tensor.clone()})
    return _held(session, saved, ids)
