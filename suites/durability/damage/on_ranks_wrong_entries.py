"""Metadata in torch's format that says wrong things about entries: exchanged, too long, before the file, behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dcp_conformance.harness.faults import torch_entries
from dcp_conformance.harness.faults.corruption import contents, inflicted
from dcp_conformance.harness.faults.limits import address_space_limit, peak_memory
from dcp_conformance.harness.faults.storage import announce
from dcp_conformance.harness.laws.verbs import described
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank
from dcp_conformance.harness.subject.damaged import MEMORY, small_state
from dcp_conformance.harness.subject.session import Session, into_subject


def _length(value: int) -> Callable[[Any], None]:
    return lambda entry: setattr(entry, "length", value)


def _offset(value: int) -> Callable[[Any], None]:
    return lambda entry: setattr(entry, "offset", value)


EDITS: dict[str, Callable[[Any], None]] = {
    "length 2^40": _length(1 << 40),
    "length 2^60": _length(1 << 60),
    "length -1": _length(-1),
    "offset -1": _offset(-1),
    "offset 2^40": _offset(1 << 40),
}


def loads_with_wrong_places(session: Session, start: int) -> dict[str, Any]:
    """A load after each edit of the places of a tensor and of an object, from the `start`-th on."""
    state, checkpoint_id = small_state(session, version=1), session.new_id(f"places{start}")
    session.save(state, checkpoint_id)
    blobs = session.stored_bytes(checkpoint_id)
    stored = into_subject(contents, blobs)
    cases = [(key, edit) for key in ("layer.first", "opt.step") if key in state for edit in EDITS]
    rows = []
    for number, (key, edit) in enumerate(cases[start:], start):
        announce("damage", number=number, what=f"{edit} stated for the entry {key!r}")
        done = {torch_entries.METADATA: torch_entries.edited(blobs, key, EDITS[edit])}
        target: Any = {key: blank(state)[key]}
        with inflicted(blobs, done, stored), address_space_limit(MEMORY):
            before = peak_memory()
            attempt = session.attempt(session.load, target, checkpoint_id)
            grown = peak_memory(reset=False) - before
        found = differences({key: state[key]}, target) if attempt.ok else []
        error = attempt.error
        told = [] if error is None else [error, *(error.failures or {}).values()]
        rows.append({
            "key": key, "edit": edit, "grown": grown, "kinds": [item.type_name for item in told],
            "error": described(error) if error else "", "wrong": found[0].sentence() if found else "",
        })  # fmt: skip
    return {"rows": rows, "total": len(cases)}


def load_with_exchanged_entries(session: Session) -> dict[str, Any]:
    """Report what a load gives when the metadata has the entries of two tensors of equal size exchanged."""
    state, checkpoint_id = small_state(session, version=1), session.new_id("exchanged")
    session.save(state, checkpoint_id)
    blobs = session.stored_bytes(checkpoint_id)
    stored = into_subject(contents, blobs)
    target = blank(state)
    done = {torch_entries.METADATA: torch_entries.exchanged(blobs, "layer.first", "layer.second")}
    with inflicted(blobs, done, stored):
        attempt = session.attempt(session.load, target, checkpoint_id)
    return {"attempt": attempt, "differences": differences(state, target) if attempt.ok else []}
