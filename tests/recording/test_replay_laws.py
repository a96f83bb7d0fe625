"""Which states are loaded first, what is lawful, and how a counter-example is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcp_conformance.harness.crashes import laws as crash_laws
from dcp_conformance.harness.crashes.explore import Exploration, Loaded, Situation, _chosen
from dcp_conformance.harness.crashes.laws import counter_example
from dcp_conformance.harness.recording.operations import load
from dcp_conformance.harness.replay.states import State
from tests.recording.made import committed, recording


def state(name: str, **more: object) -> State:
    return State(**{"tree": {name: b""}, "done": (3,), "last": "rank 0 rename a -> b", **more})  # type: ignore[arg-type]


def test_states_after_the_return_are_loaded_first_and_torn_ones_last() -> None:
    candidates = [
        state("torn", lost="the new bytes behind 512 (half) of a"), state("written", last="rank 0 write a [0..3)"),
        state("whole file lost", lost="all un-synced data of a"), state("killed"), state("late", returned=True),
        state("late", lost="nothing"),
    ]  # fmt: skip
    names = [next(iter(item.tree)) for item in _chosen(candidates, 4)]
    assert names == ["late", "killed", "whole file lost", "written"]


@pytest.mark.parametrize(
    ("law", "kinds"),
    [
        ("new_or_error", {"NEW", "ERROR"}),
        ("old_new_or_error", {"OLD", "NEW", "ERROR"}),
        ("old_or_new", {"OLD", "NEW"}),
        ("new_once_returned", {"NEW"}),
    ],
)
def test_what_each_law_allows_once_save_has_returned(law: str, kinds: set[str]) -> None:
    late = state("a", returned=True)
    found = {kind for kind in crash_laws._SAID if getattr(crash_laws, law)(late, Loaded(kind))}
    assert found == kinds


def test_before_the_return_an_error_is_no_loss() -> None:
    assert crash_laws.new_once_returned(state("a"), Loaded("ERROR"))


def test_made_up_values_after_a_power_cut_are_no_mixture() -> None:
    torn, killed = state("a", lost="all un-synced data"), state("a")
    assert crash_laws.never_mixed(torn, Loaded("SILENT"))
    assert not crash_laws.never_mixed(torn, Loaded("SILENT", mixed=True))
    assert not crash_laws.never_mixed(killed, Loaded("SILENT"))


def test_counter_example_says_what_had_happened_and_keeps_the_state(tmp_path: Path) -> None:
    source = recording(("mkdir", "id"), *committed("a", b"data", file=1))
    found = Exploration(Situation(before=4), [source], str(tmp_path / "x.recording"))
    cut = State(tree={"id": None, "id/a.tmp": b""}, done=(3,), last="rank 0 write id/a.tmp [0..4)", lost="all")
    broken = counter_example(found, cut, Loaded("SILENT", "not version 1"), 7)
    assert broken.observed == (
        "the load returned what was never saved (not version 1), in a save of 1 rank over a checkpoint of 4 ranks: "
        "3 operations had happened, the last was 'rank 0 write id/a.tmp [0..4)'; lost: all; 7 states are unlawful"
    )
    assert broken.evidence["operations"].splitlines()[-1] == "rank 0 write id/a.tmp [0..4)"
    assert broken.evidence["files left"] == "id/a.tmp: 0 bytes"
    [kept] = tmp_path.glob("*.state")
    assert load(kept).after == cut.tree
