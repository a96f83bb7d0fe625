"""What a folder is made of while operations are played on it: inodes with their data, and changes of names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

# path -> content of a file, None for a folder, a text for a symbolic link (what it points to)
Content = bytes | str | None
Folders = dict[int, dict[str, int]]  # folder -> name -> node


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a file's data: bytes written at an offset, or (data is None) its length set to the offset."""

    offset: int
    data: bytes | None


@dataclass(slots=True)
class Node:
    """An inode."""

    kind: str  # "file", "folder" or "link"
    #: Its bytes on the disk.
    durable: bytes = b""
    target: str = ""
    #: Changes since then, in order.
    pending: list[Change] = field(default_factory=list)
    # Kept, since every state that is rebuilt asks for it, and most files do not change between two of them.
    _live: bytes | None = None

    def change(self, change: Change) -> None:
        """Note a change that is not on the disk yet."""
        self.pending.append(change)
        self._live = None

    @property
    def live(self) -> bytes:
        """What a reader sees while the machine runs."""
        if self._live is None:
            self._live = played(self.durable, self.pending)
        return self._live

    def sync(self) -> None:
        """Put everything so far on the disk."""
        self.durable = self._live = self.live
        self.pending.clear()


@dataclass(slots=True)
class NameChange:
    """One change of names, which happens whole or not at all: entries taken away, entries put."""

    said: str
    takes: tuple[tuple[int, str], ...]
    puts: tuple[tuple[int, str, int], ...]
    durable: bool = False

    def touches(self, folder: int) -> bool:
        """Tell whether an entry of this folder changes."""
        return any(folder == place[0] for place in (*self.takes, *self.puts))

    def apply(self, folders: Folders) -> None:
        """Change the entries; what is not there (its making was lost) cannot be taken."""
        for folder, name in self.takes:
            # A folder whose making was lost may still be named by later changes; what they put into it hangs below no
            # name.
            folders.setdefault(folder, {}).pop(name, None)
        for folder, name, node in self.puts:
            folders.setdefault(folder, {})[name] = node


def played(content: bytes, changes: Iterable[Change]) -> bytes:
    """Return the bytes of a file after some changes; a gap before a write is filled with zeros."""
    data = bytearray(content)
    for change in changes:
        if change.data is None:
            del data[change.offset :]
        end = change.offset + len(change.data or b"")
        data.extend(bytes(max(0, (change.offset if change.data is not None else end) - len(data))))
        if change.data is not None:
            data[change.offset : end] = change.data
    return bytes(data)
