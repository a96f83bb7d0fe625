"""No checkpoint is lost, in any order in which saves and loads of one folder can meet, with and without locks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dcp_conformance import reference_impl as ref
from dcp_conformance.reference_impl.storage.commit import Commit
from tests.reference_impl.interleaving import Stage, Theatre

OLD = 0.0
VALUES = {"first": 1.0, "second": 2.0}
LOCKS = pytest.mark.parametrize("locks", [True, False], ids=["locks", "ENOLCK"])


def state(value: float) -> dict[str, Any]:
    return {"t": torch.full((3,), value), "o": value}


def save(value: float) -> Callable[[Path], Any]:
    return lambda folder: ref.save(state(value), checkpoint_id=folder, no_dist=True)


def load(folder: Path) -> float:
    """The one value that the folder's checkpoint holds everywhere."""
    found = state(-1.0)
    ref.load(found, checkpoint_id=folder, no_dist=True)
    values = {*found["t"].tolist(), found["o"]}
    assert len(values) == 1, f"a mixture was loaded: {found}"
    return float(values.pop())


def old_checkpoint(folder: Path) -> None:
    save(OLD)(folder)


def old_checkpoint_and_leftovers(folder: Path) -> None:
    """As a save leaves a folder that died before its commit."""
    old_checkpoint(folder)
    (folder / "__0_0.deadbeefdead.distcp").write_bytes(b"half")
    (folder / ".metadata.deadbeefdead.tmp").write_bytes(b"half")


def last_commit_loads(stage: Stage) -> None:
    """The folder holds what was committed last, and every save that returned had committed."""
    expected = VALUES[stage.committed[-1]] if stage.committed else OLD
    try:
        found: object = load(stage.folder)
    except ref.CheckpointException as error:
        found = error
    assert found == expected, f"the folder does not hold {expected}, which was committed last, but gives {found}"
    for actor in stage.actors:
        if actor.name in VALUES and not actor.dead:
            assert (actor.error is None) == (actor.name in stage.committed), f"{actor.name} ended with {actor.error!r}"


def nothing_is_left(stage: Stage) -> None:
    last_commit_loads(stage)
    names = sorted(path.name for path in stage.folder.iterdir())
    assert len(names) == 2, f"files of an earlier or failed save are left: {names}"


def load_gave_one_state(stage: Stage) -> None:
    last_commit_loads(stage)
    [reader] = [actor for actor in stage.actors if actor.name == "load"]
    assert reader.error is None, f"a load beside one save failed: {reader.error!r}"
    assert reader.value in (OLD, VALUES["first"])


def explored(theatre: Theatre, patch: pytest.MonkeyPatch, record: Callable[[str, object], None]) -> int:
    theatre.install(patch)
    orders = theatre.explore()
    record("interleavings", orders)
    record("states", theatre.states)
    print(f"{orders} interleavings, {theatre.states} states, 0 lost")
    return orders


TWO_SAVES = {name: save(value) for name, value in VALUES.items()}


@LOCKS
@pytest.mark.parametrize("prepare", [lambda _: None, old_checkpoint_and_leftovers], ids=["empty", "after_a_crash"])
def test_two_saves_at_once_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Any, prepare: Any, locks: bool
) -> None:
    judge = nothing_is_left if locks else last_commit_loads
    theatre = Theatre(tmp_path, TWO_SAVES, prepare, judge, locks)
    assert explored(theatre, monkeypatch, record_property) > 100


@LOCKS
def test_save_beside_one_that_is_killed_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Any, locks: bool
) -> None:
    theatre = Theatre(tmp_path, TWO_SAVES, old_checkpoint, last_commit_loads, locks, mortal="first")
    assert explored(theatre, monkeypatch, record_property) > 100


@LOCKS
def test_load_beside_a_save_gives_one_whole_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Any, locks: bool
) -> None:
    actors = {"first": save(VALUES["first"]), "load": load}
    theatre = Theatre(tmp_path, actors, old_checkpoint, load_gave_one_state, locks)
    assert explored(theatre, monkeypatch, record_property) > 50


def test_scheduler_finds_the_save_that_removes_what_it_finds_after_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sweep_all(commit: Commit, _decided_before: Any) -> None:
        needed = commit._named_by(commit.name)
        for name in commit.files.names():
            if commit._is_ours(name) and name not in needed:
                commit.files.remove(name)

    monkeypatch.setattr(Commit, "sweep", sweep_all)
    theatre = Theatre(tmp_path, TWO_SAVES, old_checkpoint, last_commit_loads, locks=True)
    theatre.install(monkeypatch)
    with pytest.raises(AssertionError, match=r"(?s)which was committed last, but gives.*is missing"):
        theatre.explore()
