"""coverage.py inside the fork server and its ranks."""

from __future__ import annotations

import os
from typing import Any


class _Active:
    coverage: Any = None


def start() -> None:
    """Measure from here on in this process and in the processes forked from it.

    The configuration is the one `coverage run` would find; every process gets a data file of its own.
    """
    import coverage

    _Active.coverage = coverage.Coverage(config_file=os.environ.get("COVERAGE_RCFILE") or True, data_suffix=True)
    _Active.coverage.start()


def stop() -> None:
    """Write the data of this process, if it is measured."""
    if _Active.coverage is not None:
        _Active.coverage.stop()
        _Active.coverage.save()
        _Active.coverage = None
