"""Recording on ranks: what a session does in a folder of its own is seen call by call, and may meet faults.

The filter that shows the calls stays on a process for good: such scenarios run on ranks of their own (`fresh=True`).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from dcp_conformance.harness.cluster import rank as on_rank
from dcp_conformance.harness.recording.client import Watching, link
from dcp_conformance.harness.subject.session import Session


def apart(session: Session, name: str = "apart") -> Session:
    """Return the session, but with ids in a folder of their own, which other runs find by the same name."""
    folder = folder_of(session, name)
    folder.mkdir(exist_ok=True)
    return Session(dataclasses.replace(session.spec, scratch=str(folder)))


def folder_of(session: Session, name: str = "apart") -> Path:
    """Return the folder in which `apart` of the same name has its ids."""
    return Path(session.spec.scratch, f"{session.spec.place}-{name}.d")


def recording_path(session: Session, name: str) -> str:
    """Return where the recording called `name` is kept."""
    return str(Path(session.spec.scratch, f"{session.spec.place}-{name}.recording"))


@contextlib.contextmanager
def recorded(session: Session, name: str, *, place: str = "apart", keep: bool = True) -> Iterator[Watching]:
    """Record what all ranks do in the folder of `apart(session, place)`, from when all have come here.

    Its `path` is where the recording called `name` will be, when all have left. keep: without it there is no such
    file, only the numbers and the faults. RecorderError where this machine does not allow it.
    """
    info = on_rank.current()
    # One supervisor for all ranks, started by the first: it alone can bring their operations into one order.
    here = link(str(Path(info.folder, "recorder")), session.rank, start=session.rank == 0)
    path = recording_path(session, name) if keep else ""
    folder = folder_of(session, place)
    folder.mkdir(exist_ok=True)
    with here.watch(str(folder), world=session.world_size, path=path) as watching:
        yield watching
