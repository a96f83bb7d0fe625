"""Processes of their own for what a test does under the recorder: a filter cannot be taken off again."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path

from dcp_conformance.harness.recording.client import Watching, link


def in_child(
    tmp_path: Path,
    body: Callable[[Path, Watching], object],
    *,
    python: bool = False,
    after: Callable[[], object] = lambda: None,
) -> int:
    """Run `body` under the filter in a process of its own, and `after` when it is watched no more; how that ended."""
    watched = tmp_path / "watched"
    watched.mkdir()
    child = os.fork()
    if not child:
        code = 1
        try:
            here = link(str(tmp_path / "socket"), 0, start=True, python=python)
            with here.watch(str(watched), world=1, path=str(tmp_path / "recording")) as watching:
                body(watched, watching)
            after()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


def raised(number: int, function: Callable[[], object]) -> None:
    try:
        function()
    except OSError as error:
        assert error.errno == number, error
    else:
        raise AssertionError("it did not fail")
