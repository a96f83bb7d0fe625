"""The watched folder at one moment, as a machine holds it: what is on the disk, and what a power cut may still undo.

A file's data and a folder's names become durable apart from each other. Two models say when names do. `strict`: an
fsync of the folder makes its changes durable, and nothing else does (what POSIX promises). `journal`: changes of names
become durable in the order in which they were made, and any fsync, of whatever file, commits all that came before it
(ext4, xfs, btrfs in practice). In both, data is durable after an fsync of its file; emptying and cutting a file count
as changes of its data.

Calls that the kernel refused without anybody noticing (a mkdir of what is there) change nothing here either: the same
rules apply. Whether all this is right for one recording is not believed but checked, see `everything`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping

from dcp_conformance.harness.recording.operations import Operation, Recording
from dcp_conformance.harness.replay.inodes import Change, Content, Folders, NameChange, Node

ROOT = 0
_MOST_LINKS = 20


class UnplayableError(Exception):
    """An operation cannot be replayed: the recording does not hold what it did."""


class Disk:
    """The watched folder while operations are played on it. journal: which model of names, see the module."""

    def __init__(self, before: Mapping[str, Content], *, journal: bool = True) -> None:
        self.journal = journal
        self.nodes: list[Node] = [Node("folder")]
        self.changes: list[NameChange] = []  # since `_base`, in order
        # Two views of the same names: `_base` is what the disk holds for certain, `_live` what a process sees. Between
        # them stand `changes`.
        self._base: Folders = {ROOT: {}}
        self._live: Folders = {ROOT: {}}
        self._files: dict[int, int] = {}  # identity of an inode in the recording -> node
        self._synchronous: set[tuple[int, int]] = set()
        for path in sorted(before):
            self._place(path, before[path])

    def play(self, operation: Operation) -> None:
        """Do one operation. Raises UnplayableError when the recording does not tell what it changed."""
        # A call that the kernel refused, or that a fault of ours failed, changed nothing.
        if operation.failed:
            return
        player = _PLAYERS.get(operation.call)
        if player is None:
            raise UnplayableError(f"operation {operation.sequence} ({operation.describe()}) cannot be replayed")
        player(self, operation)

    def is_synchronous(self, operation: Operation) -> bool:
        """Tell whether a write is on the disk when it returns."""
        opened = (operation.rank, operation.file) in self._synchronous
        return operation.call == "write" and (opened or operation.synchronous)

    def settle(self, operation: Operation) -> None:
        """Bring a synchronous write to the disk: its file, and what an fsync of it would take along."""
        self._fsync(operation)

    def pending_names(self) -> list[NameChange]:
        """Changes of names that a power cut may undo, in order."""
        return [change for change in self.changes if not change.durable]

    def dirty(self) -> list[int]:
        """Return the files with data that a power cut may undo."""
        return [number for number, node in enumerate(self.nodes) if node.pending]

    def tree(
        self, *, lost: Iterable[NameChange] = (), contents: Mapping[int, bytes] | None = None
    ) -> dict[str, Content]:
        """Return the folder as a reader finds it.

        `lost`: name changes that did not happen; contents: of files, by node.
        """
        folders, gone = self._live, {id(change) for change in lost}
        if gone:
            # From the base on, in order: what a lost change would have made is then not there for the later ones to
            # take.
            folders = {number: dict(entries) for number, entries in self._base.items()}
            for change in self.changes:
                if id(change) not in gone:
                    change.apply(folders)
        found: dict[str, Content] = {}
        self._walk(ROOT, "", folders, contents or {}, found)
        return found

    def node_of(self, operation: Operation) -> int | None:
        """Return the node that an operation is about: its inode's if it names one, else what is at its path now."""
        # By inode first: a file that was renamed or unlinked while it was open is still the one that is written to.
        known = self._files.get(operation.file)
        return self._resolve(operation.path) if known is None else known

    def has_name(self, number: int) -> bool:
        """Tell whether a path leads to a file as things are now."""
        names: dict[int, str] = {}
        self._names(ROOT, "", names)
        return number in names

    def path_of(self, number: int) -> str:
        """Return a name of a file as things are now, or words for one that has none."""
        names: dict[int, str] = {}
        self._names(ROOT, "", names)
        return names.get(number, "a file without a name")

    def _names(self, folder: int, prefix: str, names: dict[int, str]) -> None:
        for name, number in self._live.get(folder, {}).items():
            names[number] = prefix + name
            if self.nodes[number].kind == "folder":
                self._names(number, f"{prefix}{name}/", names)

    def _walk(
        self, folder: int, prefix: str, folders: Folders, contents: Mapping[int, bytes], found: dict[str, Content]
    ) -> None:
        for name, number in folders.get(folder, {}).items():
            node = self.nodes[number]
            if node.kind == "folder":
                found[prefix + name] = None
                self._walk(number, f"{prefix}{name}/", folders, contents, found)
            elif node.kind == "link":
                found[prefix + name] = node.target
            else:
                found[prefix + name] = contents.get(number, node.live)

    def _place(self, path: str, content: Content) -> None:
        parent, name = posixpath.split(path)
        folder = self._resolve(parent, follow=False)
        assert folder is not None, f"{path} lies in no folder of the tree before"
        if isinstance(content, str):
            node = Node("link", target=content)
        else:
            # All that was there before counts as durable: the recording begins with it, and its loss would be no fault
            # of this save.
            node = Node("folder") if content is None else Node("file", durable=content)
        number = self._new(node)
        for folders in (self._base, self._live):
            folders[folder][name] = number
            if node.kind == "folder":
                folders[number] = {}

    def _new(self, node: Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _resolve(self, path: str, *, follow: bool = True, depth: int = 0) -> int | None:
        """Return the node that a path leads to now.

        Links in its parents are always followed, a last one if `follow`.
        """
        here, walked = ROOT, ""
        parts = [part for part in path.split("/") if part not in ("", ".")]
        for place, part in enumerate(parts):
            found = self._live.get(here, {}).get(part)
            if found is None:
                return None
            node = self.nodes[found]
            if node.kind == "link" and (follow or place < len(parts) - 1):
                # An absolute link leads out of the watched folder as far as the recording knows; guessing would make up
                # states.
                if depth > _MOST_LINKS or node.target.startswith("/"):
                    return None
                rest = "/".join([walked, node.target, *parts[place + 1 :]])
                return self._resolve(posixpath.normpath(rest.lstrip("/")), follow=follow, depth=depth + 1)
            here, walked = found, f"{walked}/{part}"
        return here

    def _where(self, path: str) -> tuple[int, str] | None:
        """Return the folder that holds a name, and the name; None where there is no such folder."""
        parent, name = posixpath.split(posixpath.normpath(path))
        folder = self._resolve(parent)
        if folder is None or not name or name == "." or self.nodes[folder].kind != "folder":
            return None
        return folder, name

    def _file(self, operation: Operation) -> Node:
        if operation.file >= 0 and operation.file in self._files:
            return self.nodes[self._files[operation.file]]
        number = self._resolve(operation.path)
        if number is None:
            raise UnplayableError(
                f"operation {operation.sequence} ({operation.describe()}) is about a file that the recording never saw"
            )
        # Numbers of folders are looked up each time: a kernel gives those of removed folders to new ones.
        if operation.file >= 0 and self.nodes[number].kind == "file":
            self._files[operation.file] = number
        return self.nodes[number]

    def _change_names(
        self, operation: Operation, takes: tuple[tuple[int, str], ...], puts: tuple[tuple[int, str, int], ...]
    ) -> None:
        change = NameChange(operation.describe(), takes, puts)
        change.apply(self._live)
        self.changes.append(change)

    def _settle(self, durable: Callable[[NameChange], bool]) -> None:
        for change in self.changes:
            change.durable = change.durable or durable(change)
        # Only from the front: in the strict model a later change may be durable before an earlier one, and must wait
        # its turn to keep the order.
        while self.changes and self.changes[0].durable:
            self.changes.pop(0).apply(self._base)

    def _open(self, operation: Operation) -> None:
        number = self._files.get(operation.file) if operation.file >= 0 else None
        found, where = self._resolve(operation.path), self._where(operation.path)
        if operation.created:
            number = self._new(Node("file"))
            # An open of a folder that makes a file is O_TMPFILE: the file has no name before it is linked.
            if where is not None and (found is None or self.nodes[found].kind != "folder"):
                self._change_names(operation, (), ((*where, number),))
        elif found is not None:
            number = found
        if number is None:
            return  # the kernel refused it: no such file
        if operation.file >= 0:
            self._files[operation.file] = number
            opened = (operation.rank, operation.file)
            # Each open decides anew: the same file may be opened synchronously once and not the next time.
            if operation.synchronous:
                self._synchronous.add(opened)
            else:
                self._synchronous.discard(opened)
        # Emptying is a change of data like any other: before an fsync a power cut may bring the old bytes back.
        if operation.truncated and self.nodes[number].live:
            self.nodes[number].change(Change(0, None))

    def _write(self, operation: Operation) -> None:
        if operation.data:
            self._file(operation).change(Change(operation.offset, operation.data))

    def _truncate(self, operation: Operation) -> None:
        self._file(operation).change(Change(operation.offset, None))

    def _fsync(self, operation: Operation) -> None:
        node = self._file(operation)
        if node.kind == "file":
            node.sync()
        # One fsync commits the whole running transaction of a journal, names of all folders included.
        if self.journal:
            self._settle(lambda change: True)
        elif node.kind == "folder":
            folder = next(number for number, other in enumerate(self.nodes) if other is node)
            self._settle(lambda change: change.touches(folder))

    def _sync(self, operation: Operation) -> None:
        for node in self.nodes:
            node.sync()
        self._settle(lambda change: True)

    def _mkdir(self, operation: Operation) -> None:
        where = self._where(operation.path)
        if where is not None and where[1] not in self._live[where[0]]:
            number = self._new(Node("folder"))
            self._live[number] = {}
            self._change_names(operation, (), ((*where, number),))

    def _link(self, operation: Operation) -> None:
        where = self._where(operation.target)
        number = self._files.get(operation.file)
        if number is None:
            number = self._resolve(operation.path, follow=False)
        if where is not None and number is not None and where[1] not in self._live[where[0]]:
            self._change_names(operation, (), ((*where, number),))

    def _symlink(self, operation: Operation) -> None:
        where = self._where(operation.path)
        if where is not None and where[1] not in self._live[where[0]]:
            number = self._new(Node("link", target=operation.target))
            self._change_names(operation, (), ((*where, number),))

    def _rename(self, operation: Operation) -> None:
        source, target = self._where(operation.path), self._where(operation.target)
        if source is None or target is None or source[1] not in self._live[source[0]]:
            return
        number, other = self._live[source[0]][source[1]], self._live[target[0]].get(target[1])
        # Two names of one file: rename(2) then does nothing. A folder that is not empty is not replaced.
        if number != other and not (other is not None and self._live.get(other)):
            self._change_names(operation, (source, target), ((*target, number),))

    def _exchange(self, operation: Operation) -> None:
        source, target = self._where(operation.path), self._where(operation.target)
        if source is None or target is None:
            return
        number, other = self._live[source[0]].get(source[1]), self._live[target[0]].get(target[1])
        if number is not None and other is not None:
            self._change_names(operation, (source, target), ((*target, number), (*source, other)))

    def _remove(self, operation: Operation) -> None:
        where = self._where(operation.path)
        number = None if where is None else self._live[where[0]].get(where[1])
        if where is None or number is None:
            return
        folder = self.nodes[number].kind == "folder"
        # unlink of a folder, rmdir of a file and rmdir of a full folder are refused by the kernel.
        if folder == (operation.call == "rmdir") and not (folder and self._live[number]):
            self._change_names(operation, (where,), ())

    def _close(self, operation: Operation) -> None:
        """Do nothing: closing a file makes nothing durable."""


_PLAYERS: Mapping[str, Callable[[Disk, Operation], None]] = {
    "open": Disk._open, "write": Disk._write, "truncate": Disk._truncate, "fsync": Disk._fsync,
    "syncfs": Disk._sync, "sync": Disk._sync, "close": Disk._close, "mkdir": Disk._mkdir, "link": Disk._link,
    "symlink": Disk._symlink, "rename": Disk._rename, "exchange": Disk._exchange, "unlink": Disk._remove,
    "rmdir": Disk._remove,
}  # fmt: skip


def everything(recording: Recording) -> str:
    """Play the whole recording: "" if that gives the tree which was read from the disk, else the first difference.

    A recording that does not is blind to something (stores through a shared map, io_uring): nothing follows from it.
    """
    disk = Disk(recording.before)
    try:
        for operation in recording.operations:
            disk.play(operation)
    except UnplayableError as error:
        return str(error)
    return difference(disk.tree(), recording.after)


def difference(replayed: Mapping[str, Content], real: Mapping[str, Content]) -> str:
    """Return the first way in which a replayed tree is not the real one, as a sentence; "" where it is."""
    for path in sorted({*replayed, *real}):
        if path not in real:
            return f"replaying gives {path}, which is not on the disk"
        if path not in replayed:
            return f"{path} is on the disk, and replaying does not give it"
        ours, theirs = replayed[path], real[path]
        if ours != theirs:
            return f"{path} is {_said(theirs)} on the disk, and replaying gives {_said(ours, beside=theirs)}"
    return ""


def _said(content: Content, *, beside: Content = None) -> str:
    if content is None:
        return "a folder"
    if isinstance(content, str):
        return f"a link to {content}"
    if isinstance(beside, bytes) and len(beside) == len(content):
        first = next(at for at, (one, other) in enumerate(zip(content, beside, strict=True)) if one != other)
        return f"other bytes from {first} on"
    return f"{len(content)} bytes"
