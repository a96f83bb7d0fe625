"""Is never done with being imported."""

from __future__ import annotations

import time

from dcp_conformance.harness import control

UNSUPPORTED = control.UNSUPPORTED
Writer, Reader = control.Writer, control.Reader
time.sleep(100_000)
