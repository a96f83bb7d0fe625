"""Its record damages copies in memory, and shows them to whoever asks for stored bytes."""

from __future__ import annotations

from dcp_conformance.harness import control
from dcp_conformance.harness.backend.record import Backend, FileBlobs


class Lying(FileBlobs):
    """Says what is not so."""

    def __init__(self, checkpoint_id: str) -> None:
        super().__init__(checkpoint_id)
        self._copies = {name: super(Lying, self).read(name) for name in super().names()}

    def names(self) -> list[str]:
        return sorted(self._copies)

    def read(self, name: str) -> bytes:
        return self._copies[name]

    def write(self, name: str, data: bytes) -> None:
        self._copies[name] = data

    def delete(self, name: str) -> None:
        del self._copies[name]


backend = Backend(
    name="blobs_in_another_world",
    writer=control.Writer,
    reader=control.Reader,
    blobs=Lying,
    unsupported=control.UNSUPPORTED,
)
