"""Its record says that nothing is stored."""

from __future__ import annotations

from dcp_conformance.harness import control
from dcp_conformance.harness.backend.record import Backend, FileBlobs


class Lying(FileBlobs):
    """Says what is not so."""

    def names(self) -> list[str]:
        return []


backend = Backend(
    name="blobs_list_nothing",
    writer=control.Writer,
    reader=control.Reader,
    blobs=Lying,
    unsupported=control.UNSUPPORTED,
)
