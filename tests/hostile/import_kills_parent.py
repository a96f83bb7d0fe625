"""Kills the process that imports it on behalf of the judge, again and again."""

from __future__ import annotations

import os
import signal

from dcp_conformance.harness import control

UNSUPPORTED = control.UNSUPPORTED
Writer, Reader = control.Writer, control.Reader
os.kill(os.getppid(), signal.SIGKILL)
