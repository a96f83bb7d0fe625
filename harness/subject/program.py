"""A program of its own for a scenario: a fresh interpreter that does one thing and ends as programs end.

Ranks are forked and never leave their serving loop, so what happens at a normal exit of the interpreter can only be
seen in another program. It is rank 0 of a world of one, without a process group; its events go where those of a rank's
children go.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import asdict
from typing import Any

from dcp_conformance.harness.cluster import rank as on_rank
from dcp_conformance.harness.subject.session import Session

_MAIN = "import sys; from dcp_conformance.harness.subject.program import main; main(sys.stdin.buffer.read())"


def run_program(session: Session, function: str, *args: Any, limit: float) -> tuple[int | None, str]:
    """Run `function(session, *args)`, named `module:function`, in a fresh interpreter that then comes to its end.

    Returns its exit code (below 0: the signal; None: it had to be killed after `limit` seconds) and the end of what it
    wrote. Its log goes to stderr, from INFO on.
    """
    request = pickle.dumps((session.spec, asdict(on_rank.current()), function, args))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONWARNINGS": "ignore",
        # Hashes of text are its own: ranks are forked and share them.
        "PYTHONHASHSEED": "random",
    }
    try:
        # The parent's own sys.path goes along: the backend may lie where only this rank was told to look.
        done = subprocess.run(
            [sys.executable, "-c", _MAIN], input=request, timeout=limit, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    # `run` has killed it by now, so a program that hangs leaves no process behind.
    except subprocess.TimeoutExpired as error:
        return None, (error.output or b"").decode(errors="replace")[-8192:]
    return done.returncode, done.stdout.decode(errors="replace")[-8192:]


def main(request: bytes) -> None:
    """Run the function of the request, resolved by name as `harness.subject.session.perform` does it."""
    import importlib
    import logging

    logging.basicConfig(level=logging.INFO)
    spec, info, function, args = pickle.loads(request)
    # Without a group: a process group does not survive the start of another program.
    alone = on_rank.RankInfo(**{**info, "rank": 0, "world_size": 1, "group": False, "backend": ""})
    on_rank.stand_in(alone)
    module, _, name = function.partition(":")
    getattr(importlib.import_module(module), name)(Session(spec), *args)
