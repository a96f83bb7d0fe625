"""The command ``dcp-conformance``: a certification run, or one of the commands that need no run.

A run is that of an author's own repository: a packaged configuration, no conftest.py of theirs and no current folder at
the front of sys.path, so nothing that is called ``harness`` or ``suites`` there is in the way. pytest is imported for a
run only: a command answers at once.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dcp_conformance import HOME

SUITES = (HOME / "suites").resolve()
USAGE_ERROR = 4
PLUGINS = ("dcp_conformance.entry", "xdist.plugin", "pytest_timeout")
"""The plugins of pytest that a run has beside its own."""
# What a shell calls the end of a program by SIGPIPE.
NOBODY_READS = 141

USAGE = """\
usage: dcp-conformance BACKEND [options of the suites] [options of pytest]

Certifies a PyTorch Distributed Checkpoint backend. BACKEND is an importable module, module:attribute,
module:WriterClass,ReaderClass, path/to/file.py or an installed entry point.

    dcp-conformance mypkg.storage
    dcp-conformance mypkg.storage --level core --report-dir out -n 2

    dcp-conformance COMMAND ...    report, verify, diff, bundle, known, replay, explain, contract (each with --help)

The configuration of pytest in the current folder, its installed plugins, PYTEST_ADDOPTS, PYTEST_PLUGINS and
PYTHONWARNINGS are not used; `-p NAME` adds a plugin.
`dcp-conformance --help` goes on with every option, ours under "certify a checkpoint backend".
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Certify a backend, or run a command, and return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _main(given)
        # Here and not at the exit of Python, which tells of it by a traceback.
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Nobody reads any more (`| head`): what is still in the buffer goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOBODY_READS


def _main(given: list[str]) -> int:
    if {"-V", "--version"} & set(given):
        print(_versions())
        return 0
    if not _has_folder():
        print("dcp-conformance: the current folder is not there any more. Change into another one.", file=sys.stderr)
        return USAGE_ERROR
    if not given or given[0] in ("-h", "--help"):
        print(USAGE)
        if not given:
            return USAGE_ERROR
    explained = _explained(given)
    if explained is not None:
        given = ["explain", *explained]
    from dcp_conformance.harness import commands

    if given[0] in commands.COMMANDS:
        return commands.main(given[0], given[1:])
    meant = _command_meant(given[0])
    if meant:
        print(
            f"dcp-conformance: {given[0]!r} is neither a command nor a backend. {meant!r} is a command.",
            file=sys.stderr,
        )
        return USAGE_ERROR
    return _certify(given)


def _command_meant(word: str) -> str:
    """Return the command that a word was meant to be; empty where it leads to a backend, or is near to none."""
    import difflib

    from dcp_conformance.harness.backend.locate import locate
    from dcp_conformance.harness.commands import COMMANDS
    from dcp_conformance.harness.errors import UsageError

    near = difflib.get_close_matches(word, COMMANDS, n=1, cutoff=0.8)
    try:
        return "" if not near or locate(word, os.getcwd()) else near[0]
    except UsageError:
        return near[0]


def _has_folder() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _certify(given: list[str]) -> int:
    """Run our suites and return pytest's exit code."""
    if sys.platform != "linux":
        print(
            f"dcp-conformance: a run needs Linux (ranks are forked and killed, and looked at through /proc); this is "
            f"{sys.platform}. Run it in a Linux container, as `docker run -v .:/work -w /work python:3.12` starts one.",
            file=sys.stderr,
        )
        return USAGE_ERROR
    import pytest

    from dcp_conformance import entry

    entry.program = "dcp-conformance BACKEND"
    if not given[0].startswith("-"):
        given[0] = f"--backend={given[0]}"
    folder = Path.cwd()
    # The place of the current folder is the end of sys.path, where the search for the backend puts it.
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != folder]
    _leave_their_settings()
    try:
        tempfile.gettempdir()  # pytest keeps output there
    except FileNotFoundError as error:
        print(f"dcp-conformance: {error.strerror}. Name one in TMPDIR.", file=sys.stderr)
        return USAGE_ERROR
    try:
        return int(pytest.main([*_settings(folder), str(SUITES), *given]))
    except ImportError as error:
        # pytest lets the error of a plugin that was named by `-p` out of its hands.
        if "Error importing plugin" not in str(error):
            raise
        print(f"dcp-conformance: {error}", file=sys.stderr)
        return USAGE_ERROR


def _versions() -> str:
    """Return what a report of a bug needs, without importing any of it."""
    import platform
    from importlib import metadata

    def of(distribution: str) -> str:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            return "not installed"

    beside = ", ".join(f"{name} {of(name)}" for name in ("torch", "numpy", "pytest"))
    return f"dcp-conformance {of('dcp-conformance')} ({beside}, Python {platform.python_version()})"


def _leave_their_settings() -> None:
    """Forget what is set up for their own tests: plugins that shuffle or await, warnings that are errors."""
    import warnings

    for variable in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTHONWARNINGS"):
        os.environ.pop(variable, None)
    # Workers and ranks are told nothing of it either: what they import may warn.
    sys.warnoptions.clear()
    warnings.resetwarnings()
    # What is needed is loaded by name, see `_settings`.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"


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
        *(f"-p{plugin}" for plugin in PLUGINS),
        # The rootdir may be a site-packages folder, which is not ours to write to.
        f"--override-ini=cache_dir={folder / '.pytest_cache' / 'dcp-conformance'}",
    ]
