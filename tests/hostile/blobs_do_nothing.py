"""Its record says that it has damaged stored bytes, and does not."""

from __future__ import annotations

from dcp_conformance.harness import control
from dcp_conformance.harness.backend.record import Backend, FileBlobs


class Lying(FileBlobs):
    """Says what is not so."""

    def write(self, name: str, data: bytes) -> None:
        """Do nothing."""

    def delete(self, name: str) -> None:
        """Do nothing."""


backend = Backend(
    name="blobs_do_nothing",
    writer=control.Writer,
    reader=control.Reader,
    blobs=Lying,
    unsupported=control.UNSUPPORTED,
)
