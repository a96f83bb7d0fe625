"""Never comes back from a load, and no signal of Python reaches it."""

from __future__ import annotations

import signal
import time
from typing import Any

from dcp_conformance.harness import control

UNSUPPORTED = control.UNSUPPORTED
Writer = control.Writer


class Reader(control.Reader):
    """Hears nothing."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            if number < 32:
                signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        time.sleep(100_000)
