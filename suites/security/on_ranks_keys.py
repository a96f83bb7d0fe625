"""Keys that look like paths, patterns and queries."""

from __future__ import annotations

import os
import shutil

from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.states import alike_names
from dcp_conformance.harness.states.checklist import HOSTILE_KEYS
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session


def save_and_load_hostile_keys(session: Session) -> tuple[list[Difference], list[str]]:
    """Report what differs after a round trip of every hostile key, and which files appeared beside the checkpoint."""
    checkpoint_id = session.new_id()
    # Each key names this trial, so that what it leads to is new, is found, and may be removed again.
    token = f"dcp-conformance-key-{session.spec.place}"
    keys = [*HOSTILE_KEYS, *(f"{start}{token}" for start in ("../../", "../", "/", "~/", "./../"))]
    state: dict[str, object] = {key: coded(number, (5,), version=1) for number, key in enumerate(keys)}
    # Longer than a name may be; those that differ at the end only must not meet where names are cut.
    long = ["k" * 10_000, "k" * 9_999 + "j"]
    state |= {key: coded(4000 + number, (5,), version=1) for number, key in enumerate((*long, *alike_names.KEYS))}
    session.save(state, checkpoint_id)
    strays = [_removed(path) for path in _places(session) if token in os.path.basename(path)]
    target = blank(state)
    session.load(target, checkpoint_id)
    return differences(state, target), strays


def _places(session: Session) -> list[str]:
    """Return everything in the folders where a key with `..`, `/` or `~` would lead."""
    folders = (session.spec.scratch, os.path.dirname(session.spec.scratch), "/", os.path.expanduser("~"), os.getcwd())
    return [os.path.join(folder, name) for folder in dict.fromkeys(folders) for name in os.listdir(folder)]


def _removed(path: str) -> str:
    shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
    return path
