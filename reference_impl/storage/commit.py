"""The commit of a checkpoint folder: one rename, and what makes it safe beside other saves and loads of the folder.

A save looks at the folder's metadata before it writes any data, and looks again when it commits: if other metadata has
appeared, another save came first and this one fails. What may be removed is decided *before* the rename, because data
that appears later belongs to a save that has begun since. There are two rules, by whether the file system has locks.

With a lock nobody else commits between the second look and the removal. A file that was there before the rename, and
that the new metadata does not name, belongs to the checkpoint that is replaced, to a save that died, or to one that
took its first look before the rename and will therefore fail. All of these may go.

Without a lock another save may have taken its second look already and still commit. Then only the files go that the
replaced metadata names. Metadata is published once and never comes back after it was replaced, so nothing can need
them any more. What dead saves left stays.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dcp_conformance.reference_impl.errors import ConcurrentSaveError, CorruptCheckpointError, UnknownVersionError
from dcp_conformance.reference_impl.files import naming
from dcp_conformance.reference_impl.files.metadata_pickle import parse_metadata

logger = logging.getLogger("reference_impl")

#: Names of the metadata files in a folder, each with something that changes when the file is replaced.
Look = Mapping[str, Any]


def look(files: Any, names: Iterable[str] | None = None) -> Look:
    """Return all metadata that is committed in a folder; ``names`` saves listing it."""
    listed = files.names() if names is None else names
    ranks = [name for name in listed if naming.is_rank_metadata(name)]
    found = {name: files.identity(name) for name in (naming.METADATA, *ranks)}
    return {name: identity for name, identity in found.items() if identity is not None}


@dataclass(frozen=True, kw_only=True)
class Commit:
    """One commit."""

    files: Any
    #: That of a rank which saves alone; None for a save of all ranks.
    rank: int | None
    #: What the save saw before it wrote data; None where it did not look (a storage driven by hand).
    before: Look | None

    @property
    def name(self) -> str:
        """The metadata file that this commit makes or replaces."""
        return naming.metadata_name(self.rank)

    def superfluous(self, needed: set[str], *, locked: bool) -> list[str]:
        """Return what may be removed once the commit is made; call this before it.

        Raises ConcurrentSaveError where another save has committed since the first look.
        """
        # One listing for both questions: what appears after it belongs to a save that has begun since, and stays.
        names = self.files.names()
        self._refuse_overtaken(look(self.files, names), names, needed)
        removable = set(names) if locked else self._replaced(names)
        return [name for name in names if name in removable and name not in needed and self._is_ours(name)]

    def sweep(self, superfluous: Iterable[str]) -> None:
        """Remove files after the commit, which stands whether or not that works."""
        try:
            for name in superfluous:
                self.files.remove(name)
        # The commit is made: raising here would report a save as failed that every load finds.
        except OSError as error:
            logger.warning("files of an earlier checkpoint are left in %r: %s", self.files.folder, error)

    def _refuse_overtaken(self, now: Look, names: list[str], needed: set[str]) -> None:
        if self.before is None:
            return
        if self.rank is None:
            overtaken = now != self.before
        else:
            # Others that save alone commit beside this rank and may remove the metadata of all ranks; another save of
            # all ranks may have come and gone with it, and has then removed this rank's data.
            changed = now.get(self.name) != self.before.get(self.name)
            replaced = naming.METADATA in now and now[naming.METADATA] != self.before.get(naming.METADATA)
            overtaken = changed or replaced or not needed.issubset(names)
        if overtaken:
            raise ConcurrentSaveError(f"another save committed to {self.files.folder!r} while this one ran")

    def _is_ours(self, name: str) -> bool:
        """Tell whether torch or this package would give a file of what this commit replaces that name."""
        if self.rank is not None:
            return name == naming.METADATA or naming.is_data_of(name, self.rank)
        return naming.is_data(name) or naming.is_rank_metadata(name) or naming.is_temporary(name)

    def _replaced(self, names: list[str]) -> set[str]:
        """Return the metadata files that this commit makes void, and the files that they name."""
        void = {naming.METADATA, self.name} | {name for name in names if naming.is_rank_metadata(name)}
        found = {name for name in void if self.rank is None or name in (naming.METADATA, self.name)}
        return found.union(*(self._named_by(name) for name in found))

    def _named_by(self, name: str) -> set[str]:
        try:
            with self.files.open(name) as blob:
                metadata = parse_metadata(bytes(blob.read(0, blob.size)))
            return {info.relative_path for info in metadata.storage_data.values()}
        except (OSError, CorruptCheckpointError, UnknownVersionError, AttributeError):
            return set()  # nobody can say what belongs to it: better left than lost
