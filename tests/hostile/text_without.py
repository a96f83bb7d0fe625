"""Fails with an error that cannot be told."""

from __future__ import annotations

from typing import Any

from dcp_conformance.harness import control

UNSUPPORTED = control.UNSUPPORTED
Writer = control.Writer


class Unspeakable(Exception):
    """Has no text."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class Reader(control.Reader):
    """Fails."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        raise Unspeakable
