"""One recording in the making: which folder is watched, what was done to it so far, who is who."""

from __future__ import annotations

import base64
import contextlib
import os
from pathlib import Path
from typing import Any

from dcp_conformance.harness.recording.mappings import Mappings
from dcp_conformance.harness.recording.operations import Operation, Recording, Tree, read_tree
from dcp_conformance.harness.recording.policy import Policy
from dcp_conformance.harness.recording.reads import Reads


class Job:
    """The operations of all ranks below `watched`, which is a real path; keep: read the tree before and after."""

    def __init__(self, watched: str, *, keep: bool, means: str) -> None:
        self.watched, self._means = watched, means
        self.policy = Policy()
        self.operations: list[Operation] = []
        self.marks: list[tuple[int, str]] = []
        self.blind: dict[str, None] = {}  # reasons, in order, once each
        # Process -> descriptors that it takes for closed, and that refer to /dev/null since their close failed.
        self.spare: dict[int, list[int]] = {}
        #: Where what is read is watched, and not what is changed.
        self.reads: Reads | None = None
        self._keep = keep
        self._before: Tree = read_tree(Path(watched)) if keep else {}
        self._files: dict[tuple[int, int], int] = {}
        self._names: dict[int, str] = {}  # the path by which a file was opened last
        self._threads: dict[int, dict[int, int]] = {}
        self._count = 0
        self.mappings = Mappings()

    # -- who is who ------------------------------------------------------------------------------------------------

    def begin_rank(self, rank: int, thread: int) -> None:
        """Make the thread of a rank that began its number 0."""
        self._threads[rank] = {thread: 0}

    def count_threads_anew(self) -> None:
        """Forget the threads of earlier calls, but the one that began: rules name those to come."""
        for rank, known in self._threads.items():
            # Thread pools of an earlier call are gone or idle; rules speak of the threads of the call that is to come.
            self._threads[rank] = {thread: number for thread, number in known.items() if number == 0}

    def thread(self, rank: int, thread: int) -> int:
        """Return the number of a thread."""
        known = self._threads.setdefault(rank, {})
        return known.setdefault(thread, len(known))

    def file(self, identity: tuple[int, int], *, new: bool = False) -> int:
        """Return the number of an inode. new: it has just been made, so that an older one with its number is gone."""
        # Numbers of ours and not inode numbers: those are used again for other files within one save.
        if new or identity not in self._files:
            self._files[identity] = self._count
            self._count += 1
        return self._files[identity]

    def opened_as(self, file: int, path: str) -> None:
        """Note by which path a file was opened."""
        self._names[file] = path

    def name(self, file: int, path: str) -> str:
        """Return the path by which a file was opened, or else the one by which it is known now."""
        return self._names.get(file, path)

    # -- where things are ------------------------------------------------------------------------------------------

    def inside(self, path: str) -> str | None:
        """Return a resolved path relative to the watched folder; None where it is outside."""
        if path == self.watched:
            return ""
        # With the slash: `/scratch/run-10` is not below `/scratch/run-1`.
        return path[len(self.watched) + 1 :] if path.startswith(self.watched + "/") else None

    @staticmethod
    def resolved(path: str, *, follow: bool) -> str:
        """Return a path with the links on the way to it followed; follow: also the last one."""
        if follow:
            return os.path.realpath(path)
        folder, name = os.path.split(path.rstrip("/"))
        return os.path.join(os.path.realpath(folder), name)

    # -- what was done ---------------------------------------------------------------------------------------------

    def add(self, *, rank: int, thread: int, call: str, path: str, **details: Any) -> None:
        """Note one operation; thread: the system's number."""
        number = self.thread(rank, thread)
        operation = Operation(
            sequence=len(self.operations), rank=rank, thread=number, call=call, path=path, **details
        )  # fmt: skip
        self.operations.append(operation)

    def add_told(self, *, rank: int, thread: int, call: str, path: str, details: dict[str, Any]) -> None:
        """Note one operation of which a rank told, in what JSON can hold."""
        identity, new = details.pop("identity", None), details.pop("new", False)
        if identity is not None:
            details["file"] = self.file((identity[0], identity[1]), new=new)
            if call == "open":
                self.opened_as(details["file"], path)
            path = self.name(details["file"], path)
        if "data" in details:
            details["data"] = base64.b64decode(details["data"])
        self.add(rank=rank, thread=thread, call=call, path=path, **details)

    def catch_up(self) -> None:
        """Note what was stored through mappings since the last call."""
        for mapping, offset, data in self.mappings.changes():
            self.add(
                rank=mapping.rank, thread=mapping.thread, call="write", path=mapping.path, file=mapping.file,
                offset=offset, data=data,
            )  # fmt: skip

    def mark(self, text: str) -> None:
        """Note that something was announced."""
        self.catch_up()
        self.marks.append((len(self.operations), text))

    def lost_sight(self, reason: str) -> None:
        """Note why this recording cannot be trusted."""
        self.blind[reason] = None

    def finish(self, path: str) -> None:
        """Read the tree that the job left, and write the recording to a file; "" to keep nothing."""
        self.catch_up()
        self.mappings.close()
        if not path or not self._keep:
            return
        after: Tree = {}
        try:
            after = read_tree(Path(self.watched))
        except OSError as error:
            self.lost_sight(f"the folder could not be read after the job: {error}")
        recording = Recording(
            watched=self.watched, before=self._before, after=after, operations=tuple(self.operations),
            means=self._means, marks=tuple(self.marks), blind="; ".join(self.blind),
        )  # fmt: skip
        recording.save(Path(path))


def close_quietly(descriptor: int) -> None:
    """Close a descriptor of our own; the file system may report an error that is the caller's to see, not ours."""
    with contextlib.suppress(OSError):
        os.close(descriptor)
