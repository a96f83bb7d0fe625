"""Keys that look like paths, patterns and queries."""

from __future__ import annotations

import os

from harness.scenarios.checklist import HOSTILE_KEYS
from harness.scenarios.compare import differences
from harness.scenarios.values import blank, coded
from harness.session import Session
from harness.spec import Difference


def save_and_load_hostile_keys(session: Session) -> tuple[list[Difference], list[str]]:
    """What differs after a round trip of every hostile key, and which files appeared beside the checkpoint."""
    checkpoint_id = session.new_id()
    state: dict[str, object] = {key: coded(number, (5,), version=1) for number, key in enumerate(HOSTILE_KEYS)}
    state["k" * 10_000] = coded(4000, (5,), version=1)
    before = _listing(session)
    session.save(state, checkpoint_id)
    strays = _listing(session) - before
    target = blank(state)
    session.load(target, checkpoint_id)
    return differences(state, target), sorted(strays)


def _listing(session: Session) -> set[str]:
    """Everything in the folder above that of checkpoints, and in the root, where a key with `..` or `/` would lead."""
    places = (os.path.dirname(session.spec.scratch), "/", os.path.expanduser("~"), os.getcwd())
    return {os.path.join(place, name) for place in places for name in os.listdir(place)}
