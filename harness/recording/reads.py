"""What a process reads of what others have stored since a moment: files, sockets, shared and foreign memory.

A checkpoint that is to outlive a crash is in its files. A load that finds values elsewhere, in memory or in a place
that nobody replays, proves nothing about them. What was there before the moment (libraries, settings) is not of
interest, nor what is empty or only written to (locks, logs).
"""

from __future__ import annotations

import os
import re
import stat
import struct
from dataclasses import dataclass, field
from importlib.util import MAGIC_NUMBER

from dcp_conformance.harness.recording.caller import Caller

_HERE = 0xFFFFFF9C  # AT_FDCWD as an unsigned argument
_MOST = 20
_OF_A_PROCESS = re.compile(r"/proc/(\d+)/(?:task/\d+/)?(?:fd|mem|root|cwd|map_files)(?:/|$)")
_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_MEMORY = {"shmget": "shared memory (shmget)", "mq_open": "a message queue", "io_uring_setup": "an io_uring"}


@dataclass
class Reads:
    """What one process reads while it is watched."""

    #: Seconds since the epoch; what is older is of no interest.
    since: float
    #: Folders whose files may be read.
    lawful: tuple[str, ...]
    #: What else was read, once each.
    elsewhere: dict[str, None] = field(default_factory=dict)

    def note(self, name: str, caller: Caller, arguments: tuple[int, ...]) -> None:
        """Take in one call before it is made. What cannot be read of a process that has ended is left out."""
        if len(self.elsewhere) < _MOST:
            try:
                found = self._source(name, caller, arguments)
            except (OSError, ValueError, KeyError, struct.error):
                return
            if found:
                self.elsewhere[found] = None

    def _source(self, name: str, caller: Caller, arguments: tuple[int, ...]) -> str:
        if name == "connect":
            return self._peer(caller.memory(arguments[1], min(arguments[2] & 0xFFFFFFFF, 128)))
        if name == "process_vm_readv":
            process = arguments[0] & 0xFFFFFFFF
            return "" if process == caller.process else f"the memory of process {process}"
        if name in _MEMORY:
            return _MEMORY[name]
        if name == "openat2":
            flags = struct.unpack("Q", caller.memory(arguments[2], 8))[0]
            return self._file(caller, arguments[0], arguments[1], flags)
        if name == "openat":
            return self._file(caller, arguments[0], arguments[1], arguments[2])
        return self._file(caller, _HERE, arguments[0], arguments[1])

    def _file(self, caller: Caller, folder: int, address: int, flags: int) -> str:
        # Locks and logs: what is only written to gives no values.
        if flags & os.O_ACCMODE == os.O_WRONLY:
            return ""
        named = caller.path(folder, address)
        owner = _OF_A_PROCESS.match(named)
        if owner is not None and int(owner[1]) != caller.process:
            return f"what process {owner[1]} holds ({named})"
        # Of its own descriptors a process opens what they lead to.
        own = re.sub(r"^/proc/(?:self|thread-self)/", f"/proc/{caller.process}/", named)
        path = os.path.realpath(own)
        if any(path == place or path.startswith(f"{place}/") for place in self.lawful):
            return ""
        found = os.stat(path)
        # By the time of change, which no process can set back, as it can the time of modification.
        young = found.st_ctime >= self.since
        # Whatever its age: its bytes come from a process that is alive.
        if stat.S_ISFIFO(found.st_mode):
            return path
        if not stat.S_ISREG(found.st_mode) or not found.st_size or not young or path.startswith(("/proc/", "/sys/")):
            return ""
        return "" if _is_compiled(path) else path

    def _peer(self, address: bytes) -> str:
        family = struct.unpack("H", address[:2])[0]
        if family == _AF_UNIX:
            name = os.fsdecode(address[2:].rstrip(b"\0") if address[2:3] == b"\0" else address[2:].partition(b"\0")[0])
            if name.startswith("\0"):
                return f"the abstract socket {name[1:]!r}"
            path = os.path.realpath(name)
            own = any(path.startswith(f"{place}/") for place in self.lawful[1:])
            return "" if own or os.stat(path).st_ctime < self.since else f"the socket {path}"
        if family in (_AF_INET, _AF_INET6):
            return f"a network connection (port {struct.unpack('!H', address[2:4])[0]})"
        return ""


def _is_compiled(path: str) -> bool:
    """Tell whether Python wrote a file when it imported a module, in this run for the first time."""
    if os.path.basename(os.path.dirname(path)) != "__pycache__" or not path.endswith(".pyc"):
        return False
    with open(path, "rb") as file:
        return file.read(len(MAGIC_NUMBER)) == MAGIC_NUMBER
