"""The wheel and its environment are made once for the folder; so is a repository of an author."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packaging.environments import Environment, build_wheel

THEIR_CONFTEST = """
def pytest_addoption(parser):
    parser.addoption("--backend", choices=["sqlite", "memory"], default="memory")
    parser.addoption("--device", type=int, default=0)
"""
THEIR_TEST = """
import sys
import fixtures, harness, suites

def check_their_options(pytestconfig):
    assert pytestconfig.getoption("backend") == "sqlite"
    assert pytestconfig.getoption("device") == 7

def check_their_folders():
    assert [module.OWNER for module in (fixtures, harness, suites)] == ["them"] * 3

def check_that_nothing_of_ours_is_loaded(pytestconfig):
    assert not pytestconfig.pluginmanager.has_plugin("dcp_conformance.harness.run.plugin")
    ours = {name for name in sys.modules if name.startswith("dcp_conformance")}
    assert ours <= {"dcp_conformance", "dcp_conformance.entry"} and "torch" not in sys.modules
"""
THEIR_INI = """
[pytest]
python_files = check_*.py
python_functions = check_*
pythonpath = .
addopts = --strict-config
"""
THEIR_BACKEND = """
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter

class TheirWriter(FileSystemWriter):
    pass

class TheirReader(FileSystemReader):
    pass
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Environment:
    return Environment(tmp_path_factory.mktemp("environment"), wheel)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A project that uses every name that we use, and holds a backend."""
    for name in ("fixtures", "harness", "suites"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text('OWNER = "them"\n')
    (tmp_path / "conftest.py").write_text(THEIR_CONFTEST)
    (tmp_path / "check_theirs.py").write_text(THEIR_TEST)
    (tmp_path / "suites" / "check_more.py").write_text("def check_more(): ...\n")
    (tmp_path / "pytest.ini").write_text(THEIR_INI)
    (tmp_path / "their_store.py").write_text(THEIR_BACKEND)
    return tmp_path
