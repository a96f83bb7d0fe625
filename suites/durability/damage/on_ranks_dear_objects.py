"""Loads after stored objects were replaced by a few bytes that ask for much: what did each cost?"""

from __future__ import annotations

from dcp_conformance.harness.faults.corruption import contents, inflicted
from dcp_conformance.harness.faults.dear_bytes import dear_bytes
from dcp_conformance.harness.faults.limits import address_space_limit, peak_memory
from dcp_conformance.harness.faults.storage import announce
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.damaged import MEMORY
from dcp_conformance.harness.subject.session import Session, into_subject
from dcp_conformance.suites.durability.damage.damages import DearLoad

# Of the objects of a checkpoint so many are replaced, each by everything.
MOST_OBJECTS = 4


def dear_loads(session: Session) -> list[DearLoad]:
    """Load tensors after each of a few objects was replaced by each kind of dear bytes.

    No objects are among the values: an engine may unpickle those with all that they ask for.
    """
    state, checkpoint_id = {"first": coded(1, (48,), version=1), "second": coded(2, (48,), version=1)}, session.new_id()
    session.save(state, checkpoint_id)
    blobs = session.stored_bytes(checkpoint_id)
    stored = into_subject(contents, blobs)
    loads, dear = [], dear_bytes()
    for name in sorted(stored)[:MOST_OBJECTS]:
        for what, data in dear.items():
            announce("damage", what=f"{what} in the place of {name!r}")
            with inflicted(blobs, {name: data}, stored), address_space_limit(MEMORY):
                before = peak_memory()
                attempt = session.attempt(session.load, blank(state), checkpoint_id)
                grown = peak_memory(reset=False) - before
            loads.append(DearLoad(what=what, name=name, grown=grown, seconds=attempt.seconds))
    return loads
