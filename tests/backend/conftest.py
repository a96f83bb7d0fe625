"""One author per test; what their modules left in this process is taken away again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backend.authors import Author


@pytest.fixture
def author(tmp_path: Path) -> Iterator[Author]:
    path, modules = list(sys.path), set(sys.modules)
    yield Author(tmp_path)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith(("theirs_", "dcp_conformance_backend_")):
            del sys.modules[name]
