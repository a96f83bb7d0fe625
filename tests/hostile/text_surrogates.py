"""Fails with an error that names a file whose name is no text."""

from __future__ import annotations

from typing import Any

from dcp_conformance.harness import control

UNSUPPORTED = control.UNSUPPORTED
Writer = control.Writer


class Reader(control.Reader):
    """Fails."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        raise OSError(5, "Input/output error", b"/data/\xff\xfe.bin".decode("utf-8", "surrogateescape"))
