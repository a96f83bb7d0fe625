"""The project's own tests look into the suites, so they know the markers of the suites."""

from __future__ import annotations

import pytest

from dcp_conformance.harness.run.marks import MARKERS


def pytest_configure(config: pytest.Config) -> None:
    for line in MARKERS:
        config.addinivalue_line("markers", line)
