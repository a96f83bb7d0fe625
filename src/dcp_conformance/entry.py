"""The pytest plugin that stays out of every run but ours.

It is installed for everybody's pytest, so it adds no option and imports nothing unless an argument names our suites.

PYTEST_DONT_REWRITE: the command has imported this module before pytest could rewrite its asserts, of which it has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dcp_conformance import HOME

PLUGIN = "dcp_conformance.harness.run.plugin"
PACKAGE = "dcp_conformance.suites"
SUITES = (HOME / "suites").resolve()
program = ""
"""What messages about the command line call the program; the command sets it before it enters pytest."""


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config, parser: pytest.Parser) -> Iterator[None]:
    """Load the rest where our suites are named; explain a run that meant them and did not reach them."""
    known = early_config.known_args_namespace
    if _names_our_suites(early_config):
        _load(early_config)
    if program:
        parser.prog = program
        # The places of our own settings are no help to whoever mistyped an option.
        parser.extra_info.clear()
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
