"""A process that has imported all that the command needs, and forks for each input: an import a row would cost seconds.

The command runs in the fork as it does in a shell. What it would ask a process of its own about the backend it asks
itself, unless the row says that it is to be real.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LIMIT = 100.0
_NEWNS = 0x00020000
_NAMES = {"n": (resource.RLIMIT_NOFILE, 1), "f": (resource.RLIMIT_FSIZE, 1024)}


def main() -> None:
    """Answer requests, one JSON object a line, until the input ends."""
    _preload()
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)


def _preload() -> None:
    ours = ("backend.survey", "backend.candidates", "backend.probe", "backend.signatures", "run.plugin")
    others = (
        "pytest",
        "xdist.plugin",
        "pytest_timeout",
        "torch.distributed.checkpoint",
        "dcp_conformance.reference_impl",
    )
    for name in (*others, *(f"dcp_conformance.harness.{name}" for name in ours)):
        importlib.import_module(name)
    # What is there by now is never garbage: looking at it again costs each fork the copies of its pages.
    gc.collect()
    gc.freeze()


def _answer(request: Mapping[str, Any]) -> dict[str, Any]:
    began, output = time.monotonic(), Path(request["output"])
    pid = os.fork()
    if pid == 0:
        try:
            code = _child(request, output)
        except BaseException as error:
            sys.stderr.write(f"the test itself failed: {error!r}\n")
            code = 99
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    code = _wait(pid)
    return {"code": code, "text": output.read_text(errors="replace"), "seconds": time.monotonic() - began}


def _wait(pid: int) -> int:
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.killpg(pid, 9)
    os.waitpid(pid, 0)
    return -1


def _child(request: Mapping[str, Any], output: Path) -> int:
    os.setpgid(0, 0)
    target, nothing = os.open(output, os.O_WRONLY | os.O_CREAT, 0o644), os.open(os.devnull, os.O_RDONLY)
    for source, place in ((nothing, 0), (target, 1), (target, 2)):
        os.dup2(source, place)
    os.chdir(request["folder"])
    if request["before"]:
        _prepare(request["before"])
    os.environ.update(request["environment"])
    if not request["real"]:
        _ask_here()
    for name, most in request["limits"].items():
        number, unit = _NAMES[name]
        resource.setrlimit(number, (most * unit, most * unit))
    from dcp_conformance.command import main as command

    sys.argv = ["dcp-conformance", *request["words"]]
    return command(request["words"])


def _prepare(script: str) -> None:
    """Run a script in a mount namespace of this process."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["sh", "-ec", script], check=True)
    try:
        os.chdir(".")
        # What was mounted over the current folder is seen by its name only.
        os.chdir(os.getcwd())
    except FileNotFoundError:
        pass  # the script removed it, as it was to


def _ask_here() -> None:
    from _pytest.assertion.rewrite import AssertionRewritingHook

    from dcp_conformance.harness.cluster import Cluster, Returned

    def call(cluster: Cluster, function: str, *arguments: Any, timeout: float | None = None) -> Returned:
        module, _, name = function.partition(":")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a process of its own would have written into its log
            value = getattr(importlib.import_module(module), name)(*arguments)
        return Returned(rank=0, events=(), seconds=0.0, output="", value=value)

    AssertionRewritingHook._warn_already_imported = lambda *_: None  # type: ignore[method-assign]
    Cluster.call = call  # type: ignore[method-assign,assignment]
    Cluster.launch = lambda cluster: None  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
