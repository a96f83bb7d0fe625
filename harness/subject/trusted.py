"""Recordings as a test sees them: told from a machine that cannot record, checked against the disk, then judged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dcp_conformance.harness.cluster import Outcome, Raised
from dcp_conformance.harness.laws.verbs import Untestable, must_return
from dcp_conformance.harness.recording import operations
from dcp_conformance.harness.recording.operations import Recording
from dcp_conformance.harness.replay import disk
from dcp_conformance.harness.subject.subject import Subject

TABLE = "File operations were seen by"


def observed(outcomes: Sequence[Outcome]) -> list[Any]:
    """Return the values of all ranks of a scenario that records.

    Untestable where this machine does not allow recording.
    """
    for outcome in outcomes:
        if isinstance(outcome, Raised) and outcome.error.is_a("RecorderError"):
            raise Untestable(f"file operations cannot be watched here: {outcome.error.text}")
    return must_return(outcomes)


def recording(subject: Subject, path: str) -> Recording:
    """Return the recording in a file, its means noted on the certificate; Untestable where it cannot be trusted."""
    found = operations.load(Path(path))
    subject.table(TABLE, ("means",), [(found.means,)])
    # Each of these would make a state that never was, or hide one that can be: nothing is concluded from such a
    # recording, neither for the backend nor against it.
    if found.blind:
        raise Untestable(f"the recording is not complete: {found.blind}")
    opaque = next((item for item in found.operations if item.call == "opaque" and not item.failed), None)
    if opaque is not None:
        raise Untestable(f"files are changed in a way that cannot be recorded: {opaque.describe()}")
    if not any(item.call == "write" and not item.failed for item in found.operations):
        raise Untestable("nothing was written where its checkpoint ids are")
    wrong = disk.everything(found)
    if wrong:
        raise Untestable(f"the recording does not give what is on the disk: {wrong}")
    return found
