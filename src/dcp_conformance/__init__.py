"""Conformance and fault-injection tests for PyTorch Distributed Checkpoint (DCP) backends.

The one name that an installation adds. In a clone the packages below it are links to the folders at the top of the
repository: `dcp_conformance.harness` is harness/. Nothing is imported here, since ranks and small programs come by.

PYTEST_DONT_REWRITE: the command has imported this module before pytest could rewrite its asserts, of which it has none.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dcp_conformance.harness.backend.record import Backend as Backend

HOME = Path(__file__).resolve().parent
"""The folder of this package."""

IMPORT_ROOT = HOME.parent
"""What has to be on sys.path of another program, so that it can import this package."""


def __getattr__(name: str) -> object:
    """`from dcp_conformance import Backend`, for adapters: the record that says what is under test."""
    if name == "Backend":
        from dcp_conformance.harness.backend.record import Backend

        return Backend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
