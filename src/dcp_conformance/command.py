"""The command ``dcp-conformance``: a certification run, or one of the commands that need no run.

A run is that of an author's own repository: a packaged configuration, no conftest.py of theirs and no current folder at
the front of sys.path, so nothing that is called ``harness`` or ``suites`` there is in the way. pytest is imported for a
run only: a command answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from dcp_conformance import HOME

SUITES = (HOME / "suites").resolve()
USAGE_ERROR = 4

USAGE = """\
usage: dcp-conformance BACKEND [options of the suites] [options of pytest]

Certifies a PyTorch Distributed Checkpoint backend. BACKEND is an importable module, module:attribute,
module:WriterClass,ReaderClass, path/to/file.py or an installed entry point.

    dcp-conformance mypkg.storage
    dcp-conformance mypkg.storage --level core --report-dir out -n 2

    dcp-conformance COMMAND ...    report, verify, diff, bundle, known, replay, explain, contract (each with --help)

The configuration of pytest in the current folder, PYTEST_ADDOPTS and PYTEST_PLUGINS are not read.
`dcp-conformance --help` goes on with every option, ours under "certify a checkpoint backend".
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Certify a backend, or run a command, and return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(USAGE)
        if not given:
            return USAGE_ERROR
    explained = _explained(given)
    if explained is not None:
        given = ["explain", *explained]
    from dcp_conformance.harness import commands

    return commands.main(given[0], given[1:]) if given[0] in commands.COMMANDS else _certify(given)


def _certify(given: list[str]) -> int:
    """Run our suites and return pytest's exit code."""
    import pytest

    if not given[0].startswith("-"):
        given[0] = f"--backend={given[0]}"
    folder = Path.cwd()
    # The place of the current folder is the end of sys.path, where the search for the backend puts it.
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != folder]
    for variable in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS"):
        os.environ.pop(variable, None)
    return int(pytest.main([*_settings(folder), str(SUITES), *given]))


def _explained(given: Sequence[str]) -> list[str] | None:
    """The arguments of the command `explain` where the option of that name was given; None where it was not.

    A run takes the option too (`pytest suites --explain ID`); here nothing has to be collected for it.
    """
    for place, word in enumerate(given):
        name, equals, value = word.partition("=")
        if name == "--explain" and (equals or place + 1 < len(given)):
            asked = [value] if equals else [given[place + 1]]
            report = [other for other in given if other.startswith("--report-dir=")]
            return [*asked, *report]
    return None


def _settings(folder: Path) -> list[str]:
    return [
        f"-c{HOME / 'harness' / 'certify.ini'}",
        f"--rootdir={SUITES.parent}",
        "--noconftest",
        "--import-mode=importlib",
        "-pdcp_conformance.entry",
        # The rootdir may be a site-packages folder, which is not ours to write to.
        f"--override-ini=cache_dir={folder / '.pytest_cache' / 'dcp-conformance'}",
    ]
