"""The project's own tests look into the suites, so they know the markers of the suites."""

from __future__ import annotations

import pytest

from dcp_conformance.harness.run.marks import MARKERS


def pytest_configure(config: pytest.Config) -> None:
    for line in MARKERS:
        config.addinivalue_line("markers", line)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-hostile", action="store_true", help="run all of tests/hostile, as every night does")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of the hostile backends every push runs those that stand for a kind."""
    if config.getoption("all_hostile"):
        return
    left = [item for item in items if not _is_often(item)]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


def _is_often(item: pytest.Item) -> bool:
    hostile = getattr(item, "callspec", None) and item.callspec.params.get("hostile")  # type: ignore[attr-defined]
    return hostile is None or hostile.often
