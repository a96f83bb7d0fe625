"""What the certificate says about this machine. The one module here that looks at the world outside."""

from __future__ import annotations

import os
import platform


def machine() -> dict[str, str | int]:
    """Return the machine as plain data: platform, cpus for this process, memory in bytes (0: unknown), kernel."""
    try:
        cpus = len(os.sched_getaffinity(0))
    except AttributeError:
        # Not Linux: there is no affinity, so all of them.
        cpus = os.cpu_count() or 1
    return {
        "platform": f"{platform.system()} {platform.machine()}",
        "cpus": cpus,
        "memory_bytes": _memory(),
        "kernel": platform.release(),
    }


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        # The system does not tell; zero says so on the certificate.
        return 0
