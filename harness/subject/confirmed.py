"""Stored bytes of which a witness confirms that they were changed: what a record's `blobs` says proves nothing."""

from __future__ import annotations

from dcp_conformance.harness.backend.blobs import is_local_path
from dcp_conformance.harness.backend.record import Blobs
from dcp_conformance.harness.backend.witness import Witness


class Confirmed:
    """The blobs of a checkpoint whose id is a local path. `lie`: what was said to be done and was not, "" for nothing.

    The witness sees the file system, where every change of stored bytes shows, by whatever names `blobs` calls them.
    """

    def __init__(self, blobs: Blobs, place: str, witness: Witness) -> None:
        self._blobs, self._place, self._witness = blobs, place, witness
        self.lie = ""

    @classmethod
    def where_possible(cls, blobs: Blobs, checkpoint_id: object, witness: Witness) -> Confirmed | None:
        """None where there is no file system to look at: the id is an address, or nothing lies at its path."""
        # An empty digest is a path where nothing lies: such a record stores elsewhere, whatever its ids look like, and
        # a comparison of nothing with nothing would call every honest change a lie.
        if not isinstance(checkpoint_id, str) or not is_local_path(checkpoint_id) or not witness.digest(checkpoint_id):
            return None
        return cls(blobs, checkpoint_id, witness)

    def names(self) -> list[str]:
        """See Blobs."""
        return self._blobs.names()

    def read(self, name: str) -> bytes:
        """See Blobs."""
        return self._blobs.read(name)

    def write(self, name: str, data: bytes) -> None:
        """See Blobs."""
        # Restoring sound bytes over sound bytes changes nothing, and is no lie.
        before, same = self._witness.digest(self._place), self._has(name, data)
        self._blobs.write(name, data)
        self._confirm(before, f"replaced {name!r}", expected=not same)

    def delete(self, name: str) -> None:
        """See Blobs."""
        before = self._witness.digest(self._place)
        self._blobs.delete(name)
        self._confirm(before, f"deleted {name!r}", expected=True)

    def __getattr__(self, name: str) -> object:
        return getattr(self._blobs, name)  # what an object store can tell beside

    def _has(self, name: str, data: bytes) -> bool:
        try:
            return self._blobs.read(name) == data
        # Blobs promises KeyError for a name that it does not have; writing it then is a change.
        except KeyError:
            return False

    def _confirm(self, before: str, what: str, *, expected: bool) -> None:
        # The first lie stands: whatever is said to be done after it builds on a damage that was never there.
        if expected and not self.lie and self._witness.digest(self._place) == before:
            self.lie = f"the record's blobs says that it has {what}, and no byte at {self._place} has changed"
