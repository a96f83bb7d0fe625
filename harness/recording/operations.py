"""What was done to one folder, in order and with the data: plain records that can be kept in a file."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dcp_conformance.harness.cluster.codec import NotPlainData, dumps, loads

CALLS = (
    "mkdir", "open", "write", "truncate", "fsync", "syncfs", "sync", "close", "rename", "exchange", "link", "symlink",
    "unlink", "rmdir", "opaque",
)  # fmt: skip
FORMAT = b"dcp-conformance recording 1\n"  # a reader that does not know the number refuses the file

# Path -> what is there: the bytes of a file, None for a folder, a str for a symbolic link (what it points to).
Tree = Mapping[str, bytes | str | None]


class RecordingError(Exception):
    """A file is not a recording, is one of another version, or is damaged."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One call that touched the watched folder.

    Paths are relative to the watched folder, "/"-separated; "" is the folder itself. A call on a descriptor carries
    the path the descriptor was opened by; what counts then is `file`, the identity of the inode, which renames keep.
    """

    sequence: int  # global order over all ranks and threads, from 0
    rank: int
    thread: int  # small number per rank, 0 = the thread that began
    call: str  # one of CALLS; "opaque" changes files in a way that cannot be replayed (shared writable mmap, io_uring)
    path: str
    target: str = ""  # rename, exchange, link: the new name; symlink: what it points to
    file: int = -1  # identity of the inode; -1 for pure name operations
    offset: int = 0  # write: where; truncate: the new length
    data: bytes = b""
    created: bool = False  # open: made the file
    truncated: bool = False  # open: emptied a file that was there
    synchronous: bool = False  # open: O_SYNC or O_DSYNC, every write through it is durable at once
    failed: int = 0  # errno the call was answered with; a failed call changed nothing, unless it is a short write

    def describe(self) -> str:
        """Return one short line, for tables and counter-examples: `rank 0 write a/b [16..24)`."""
        where = f" [{self.offset}..{self.offset + len(self.data)})" if self.call == "write" else ""
        length = f" to {self.offset}" if self.call == "truncate" else ""
        target = f" -> {self.target}" if self.target else ""
        errno_text = f" = error {self.failed}" if self.failed else ""
        return f"rank {self.rank} {self.call} {self.path or '.'}{where}{length}{target}{errno_text}"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """The operations of one job below `watched`, with the tree before it and the tree read from the disk after it."""

    watched: str
    before: Tree
    after: Tree
    operations: tuple[Operation, ...]
    means: str  # "seccomp user notification", or the name of the means that took its place
    marks: tuple[tuple[int, str], ...] = ()  # (number of operations done by then, what was announced)
    blind: str = ""  # why this recording cannot be trusted, "" when nothing is known against it

    def save(self, path: Path) -> None:
        """Write the recording to `path`: a format line, the SHA-256 of the body, the body."""
        body = dumps(dataclasses.asdict(self))
        path.write_bytes(FORMAT + hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


def load(path: Path) -> Recording:
    """Read what `Recording.save` wrote; RecordingError for anything else."""
    head, _, rest = path.read_bytes().partition(b"\n")
    if head + b"\n" != FORMAT:
        raise RecordingError(f"{path} is not a recording of this version (it begins with {head[:40]!r})")
    digest, _, body = rest.partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise RecordingError(f"{path} is damaged: its body is not the one that was written")
    try:
        fields: dict[str, Any] = loads(body)
        fields["operations"] = tuple(Operation(**operation) for operation in fields["operations"])
        return Recording(**fields)
    except (NotPlainData, TypeError, KeyError) as error:
        raise RecordingError(f"{path} holds no recording: {error}") from None


def read_tree(folder: Path) -> dict[str, bytes | str | None]:
    """Return everything below `folder`, as a Tree."""
    tree: dict[str, bytes | str | None] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            tree[name] = str(path.readlink())
        elif path.is_dir():
            tree[name] = None
        else:
            tree[name] = path.read_bytes()
    return tree
