"""The entry point: a pytest plugin that stays out of every run but ours, and the command ``dcp-conformance``.

The plugin is installed for everybody's pytest, so it adds no option and imports nothing unless an argument names our
suites. The command is the run for an author's own repository: a packaged configuration, no conftest.py of theirs and
no current folder at the front of sys.path, so nothing that is called ``harness`` or ``suites`` there is in the way.

PYTEST_DONT_REWRITE: the command has imported this module before pytest could rewrite its asserts, of which it has none.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dcp_conformance import HOME

PLUGIN = "dcp_conformance.harness.run.plugin"
PACKAGE = "dcp_conformance.suites"
SUITES = (HOME / "suites").resolve()

USAGE = """\
usage: dcp-conformance BACKEND [options of the suites] [options of pytest]

Certifies a PyTorch Distributed Checkpoint backend. BACKEND is an importable module, module:attribute,
module:WriterClass,ReaderClass, path/to/file.py or an installed entry point.

    dcp-conformance mypkg.storage
    dcp-conformance mypkg.storage --level core --report-dir out -n 2

The configuration of pytest in the current folder, PYTEST_ADDOPTS and PYTEST_PLUGINS are not read.
`dcp-conformance --help` goes on with every option, ours under "certify a checkpoint backend".
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run our suites as the command ``dcp-conformance`` and return pytest's exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(USAGE)
        if not given:
            return int(pytest.ExitCode.USAGE_ERROR)
    if given and not given[0].startswith("-"):
        given[0] = f"--backend={given[0]}"
    folder = Path.cwd()
    # The place of the current folder is the end of sys.path, where the search for the backend puts it.
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != folder]
    for variable in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS"):
        os.environ.pop(variable, None)
    return int(pytest.main([*_settings(folder), str(SUITES), *given]))


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


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config, parser: pytest.Parser) -> Iterator[None]:
    """Load the rest where our suites are named; explain a run that meant them and did not reach them."""
    known = early_config.known_args_namespace
    if _names_our_suites(early_config):
        _load(early_config)
    result = yield
    missed = [name for name in known.file_or_dir if name.partition("::")[0].split("/")[0] == "suites"]
    asked = any(word.partition("=")[0] == "--backend" for word in early_config.invocation_params.args)
    if missed and asked and not hasattr(parser.parse_known_args([]), "backend"):
        raise pytest.UsageError(_missed(early_config, missed[0]))
    return result


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Load the rest in an xdist worker that gets this plugin by `-p`, which comes too late for the hook above."""
    if hasattr(config, "workerinput") and _names_our_suites(config):
        _load(config)


def _load(config: pytest.Config) -> None:
    if not config.pluginmanager.has_plugin(PLUGIN):
        config.pluginmanager.import_plugin(PLUGIN)


def _names_our_suites(config: pytest.Config) -> bool:
    known, folder = config.known_args_namespace, config.invocation_params.dir
    if not known.file_or_dir:
        return folder.resolve().is_relative_to(SUITES)
    return any(_leads_to_our_suites(name, folder, pyargs=known.pyargs) for name in known.file_or_dir)


def _leads_to_our_suites(argument: str, folder: Path, *, pyargs: bool) -> bool:
    word = argument.partition("::")[0]
    path = Path(folder, word).resolve()
    if path.exists() or not pyargs:
        return path.is_relative_to(SUITES)
    return word.startswith(PACKAGE)


def _missed(config: pytest.Config, argument: str) -> str:
    path = Path(config.invocation_params.dir, argument.partition("::")[0])
    what = f"{path} is" if path.exists() else f"{argument!r} is not there and therefore"
    return (
        f"{what} not the suites of dcp-conformance, which lie in {SUITES}. "
        "Run them with the command `dcp-conformance BACKEND [pytest options]`."
    )
