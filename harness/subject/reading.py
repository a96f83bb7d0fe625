"""On ranks: does a load take its values from the files of the checkpoint, or from where no crash would leave them?

The filter that shows it stays on a process for good: such scenarios run on ranks of their own (`fresh=True`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from dcp_conformance.harness.cluster import rank as on_rank
from dcp_conformance.harness.recording.client import RecorderError, Watching, link
from dcp_conformance.harness.scratch import MARKER, run_folder_of
from dcp_conformance.harness.subject.session import Session


def reads_elsewhere(watching: Watching | None) -> str:
    """Return what was read that lies elsewhere, as a sentence; "" for nothing, or where nothing could be seen."""
    if watching is None or not watching.elsewhere:
        return ""
    found = watching.elsewhere
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"a load read {found[0]}{more}, which is not among the files of the checkpoint: no crash would leave it so"


@contextlib.contextmanager
def reads_watched(session: Session, folder: Path) -> Iterator[Watching | None]:
    """Watch what this rank reads beside the files below `folder`; None where this machine does not allow it."""
    info = on_rank.current()
    run = run_folder_of(Path(session.spec.scratch, "any"))
    # What is older than the run are libraries and settings: it cannot hold what was saved in it.
    since = (folder if run is None else run / MARKER).stat().st_ctime
    here = link(str(Path(info.folder, "recorder")), session.rank, start=True, reads=True)
    with contextlib.ExitStack() as stack:
        watching = None
        # A store that says that it has a server may ask it: the certificate shows that there is one.
        # Where the kernel refuses the filter nothing can be seen, and nothing is claimed: `None` finds no fault.
        with contextlib.suppress(RecorderError):
            watching = stack.enter_context(here.watch_reads(str(folder), since=since, own=info.folder))
        yield watching
    if watching is not None and session.storage.start is not None:
        watching.elsewhere = [item for item in watching.elsewhere if not item.startswith("a network connection")]
