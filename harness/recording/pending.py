"""An operation that is known and not yet done: do it, fail it, or do half of it, and let its caller go on."""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass
from typing import Any

from dcp_conformance.harness.recording import kernel
from dcp_conformance.harness.recording.caller import Caller
from dcp_conformance.harness.recording.calls import Planned
from dcp_conformance.harness.recording.job import Job, close_quietly

# Noted and not done: no power is cut here, what is read afterwards is the same, and a sync costs milliseconds.
_SYNCS = ("fsync", "sync", "syncfs")


@dataclass
class Pending:
    """A planned operation whose caller waits."""

    listener: int
    rank: int
    call: kernel.Notification
    caller: Caller
    job: Job
    plan: Planned
    devnull: int

    @property
    def thread(self) -> int:
        """The number of its thread."""
        return self.job.thread(self.rank, self.call.thread)

    def perform(self) -> None:
        """Do it, or have it done."""
        plan = self.plan
        # Calls on descriptors are the kernel's to do: only it can move the caller's position and report its own errors.
        if plan.act is None:
            self._note()
            for call in plan.then:
                self.job.add(rank=self.rank, thread=self.call.thread, call=call, path=plan.path, **self._file())
            if plan.call in _SYNCS:
                kernel.reply(self.listener, self.call)
            else:
                kernel.proceed(self.listener, self.call)
            return
        try:
            found = plan.act()
        except OSError as error:
            self.fail(error.errno or errno.EIO)
            return
        # Taken out of the details, which are kept in the recording: they are means and not facts.
        descriptor, inherited = found.pop("descriptor", None), found.pop("inherited", False)
        plan.details |= found
        self._note()
        if descriptor is None:
            kernel.reply(self.listener, self.call)
            return
        kernel.reply_descriptor(self.listener, self.call, descriptor, inherited=inherited)
        close_quietly(descriptor)

    def fail(self, number: int) -> None:
        """Answer with an error; nothing is done, but that a descriptor is closed even where close fails."""
        if self.plan.call == "close":
            descriptor = self.call.arguments[0] & 0xFFFFFFFF
            with contextlib.suppress(FileNotFoundError):  # the caller was killed
                kernel.replace_descriptor(self.listener, self.call, descriptor, self.devnull)
                self.job.spare.setdefault(self.caller.process, []).append(descriptor)
        self._note(failed=number)
        kernel.reply(self.listener, self.call, error=number)

    def shorten(self) -> None:
        """Write the first half, and say so; a single byte cannot be halved and is written."""
        data = self.plan.details["data"][: len(self.plan.details["data"]) // 2]
        if not data:
            self.perform()
            return
        try:
            descriptor = kernel.descriptor_of(self.caller.process, self.call.arguments[0] & 0xFFFFFFFF)
        except OSError as error:
            self.job.lost_sight(f"a short write could not be made: {error}")
            self.perform()
            return
        try:
            written = self._written(descriptor, data)
        finally:
            close_quietly(descriptor)
        self.plan.details["data"] = data[:written]
        self._note()
        kernel.reply(self.listener, self.call, written)

    def _written(self, descriptor: int, data: bytes) -> int:
        # The descriptor is the caller's open file, position included: a plain write has to move it, a pwrite must not.
        moves = os.lseek(descriptor, 0, os.SEEK_CUR) == self.plan.details["offset"]
        return os.write(descriptor, data) if moves else os.pwrite(descriptor, data, self.plan.details["offset"])

    def _note(self, **more: Any) -> None:
        plan = self.plan
        self.job.add(
            rank=self.rank, thread=self.call.thread, call=plan.call, path=plan.path, **{**plan.details, **more}
        )  # fmt: skip

    def _file(self) -> dict[str, Any]:
        return {name: value for name, value in self.plan.details.items() if name == "file"}
