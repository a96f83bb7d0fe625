"""Ways to read, each below a watch, for test_reads: `python -m tests.recording.readers FOLDER`."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from dcp_conformance.harness.recording.client import link


def main(folder: Path) -> None:
    """Read in each way below a watch over the folder `own`; prints what each was told of, as JSON."""
    here = link(str(folder / "recorder"), 0, start=True, reads=True)
    since = time.time() - 0.1
    memory = Path("/dev/shm", f"dcp-reads-{os.getpid()}")
    own, elsewhere = folder / "own", folder / "elsewhere"
    try:
        memory.write_text("data")
        for place in (own, elsewhere):
            place.mkdir()
            (place / "young").write_text("data")
        (elsewhere / "empty").touch()
        (own / "link").symlink_to(elsewhere / "young")
        found = {}
        for how, way in _WAYS.items():
            with here.watch_reads(str(own), since=since, own=str(folder / "recorder")) as watching:
                way(own, elsewhere, memory)
            found[how] = watching.elsewhere
    finally:
        memory.unlink(missing_ok=True)
    print(json.dumps(found))


def _network() -> None:
    with socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client.connect(listener.getsockname())


def _abstract() -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(f"\0dcp-reads-{os.getpid()}")
        listener.listen()
        client.connect(listener.getsockname())


def _missing(elsewhere: Path) -> None:
    assert not os.path.exists(elsewhere / "missing")
    try:
        (elsewhere / "missing").read_bytes()
    except FileNotFoundError:
        return


_WAYS = {
    "nothing": lambda own, elsewhere, memory: None,
    "library": lambda own, elsewhere, memory: Path(os.__file__).read_bytes(),
    "own": lambda own, elsewhere, memory: (own / "young").read_bytes(),
    "empty": lambda own, elsewhere, memory: (elsewhere / "empty").read_bytes(),
    "log": lambda own, elsewhere, memory: (elsewhere / "young").open("a").close(),
    "missing": lambda own, elsewhere, memory: _missing(elsewhere),
    "itself": lambda own, elsewhere, memory: Path("/proc/self/maps").read_bytes(),
    "device": lambda own, elsewhere, memory: open("/dev/zero", "rb").close(),
    "young": lambda own, elsewhere, memory: (elsewhere / "young").read_bytes(),
    "linked": lambda own, elsewhere, memory: (own / "link").read_bytes(),
    "child": lambda own, elsewhere, memory: subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"open({str(elsewhere / 'young')!r}).read()"], check=True
    ),
    "memory": lambda own, elsewhere, memory: memory.read_bytes(),
    "abstract": lambda own, elsewhere, memory: _abstract(),
    "network": lambda own, elsewhere, memory: _network(),
    "parent": lambda own, elsewhere, memory: Path(f"/proc/{os.getppid()}/fd/0").open("rb").close(),
    "shared": lambda own, elsewhere, memory: ctypes.CDLL(None).shmget(0, 4096, 0o1600),
}

if __name__ == "__main__":
    main(Path(sys.argv[1]))
