"""The entry point: a pytest plugin that stays out of every run but ours, and the command ``dcp-conformance``.

The plugin is installed for everybody's pytest, so it adds no option and imports nothing unless an argument names our
suites. The command is the run for an author's own repository: a packaged configuration, no conftest.py of theirs and
no current folder at the front of sys.path, so nothing that is called ``harness`` or ``suites`` there is in the way.

PYTEST_DONT_REWRITE: the command has imported this module before pytest could rewrite its asserts, of which it has none.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parent
SUITES = HOME / "suites"

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
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != folder or folder == HOME]
    for variable in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS"):
        os.environ.pop(variable, None)
    return int(pytest.main([*_settings(folder), str(SUITES), *given]))


def _settings(folder: Path) -> list[str]:
    return [
        f"-c{HOME / 'harness' / 'certify.ini'}",
        f"--rootdir={HOME}",
        "--noconftest",
        "--import-mode=importlib",
        "-pdcp_conformance",
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
    missed = [name for name in known.file_or_dir if _first_word(name, pyargs=known.pyargs) == "suites"]
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
    if config.pluginmanager.has_plugin("harness.plugin"):
        return
    for name in ("harness", "suites", "fixtures"):
        place = _place(name)
        if place != HOME / name:
            raise pytest.UsageError(
                f"dcp-conformance cannot run: {place or 'nothing'} hides {HOME / name} from `import {name}`. "
                "Use the command `dcp-conformance BACKEND`, which the current folder does not disturb, or take that "
                "folder off the front of sys.path (PYTHONPATH, `python -m pytest`)."
            )
    config.pluginmanager.import_plugin("harness.plugin")


def _names_our_suites(config: pytest.Config) -> bool:
    known, folder = config.known_args_namespace, config.invocation_params.dir
    if not known.file_or_dir:
        return folder.resolve().is_relative_to(SUITES)
    return any(_leads_to_our_suites(name, folder, pyargs=known.pyargs) for name in known.file_or_dir)


def _leads_to_our_suites(argument: str, folder: Path, *, pyargs: bool) -> bool:
    path = Path(folder, argument.partition("::")[0]).resolve()
    if path.exists() or not pyargs:
        return path.is_relative_to(SUITES)
    return _first_word(argument, pyargs=True) == "suites" and _place("suites") == SUITES


def _first_word(argument: str, *, pyargs: bool) -> str:
    path = argument.partition("::")[0]
    return path.split("." if pyargs and "/" not in path else "/")[0]


def _place(package: str) -> Path | None:
    """Return the folder that ``import package`` would find, without importing it; None when there is none."""
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:
        return None  # already imported by something that left no spec: certainly not ours
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(spec.origin).resolve() if spec.origin else None


def _missed(config: pytest.Config, argument: str) -> str:
    path = Path(config.invocation_params.dir, argument.partition("::")[0])
    place = _place("suites") if config.known_args_namespace.pyargs and not path.exists() else path
    what = f"{place} is" if place is not None and place.exists() else f"{argument!r} is not there and therefore"
    return (
        f"{what} not the suites of dcp-conformance, which lie in {SUITES}. "
        "Run them with the command `dcp-conformance BACKEND [pytest options]`."
    )


if __name__ == "__main__":
    raise SystemExit(main())
