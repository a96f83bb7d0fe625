"""Limits of the process (`ulimit`) under which a run would fail for reasons that are not the backend's."""

from __future__ import annotations

import resource

from dcp_conformance.harness.errors import UsageError

# A judge holds some 60 descriptors with eight ranks; one that runs out reads as a harness error in every case.
_DESCRIPTORS = 256
# The largest file of the levels that every run has, with a margin.
_FILE = 64 << 20


def check_limits() -> None:
    """Raise the soft limit of descriptors where that is allowed; refuse limits that are too low. Raises UsageError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < _DESCRIPTORS:
        if 0 <= hard < _DESCRIPTORS:
            raise UsageError(
                f"This process may have {hard} files open (ulimit -n), and a run needs {_DESCRIPTORS}. Raise the limit."
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS, hard))
    largest, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if 0 <= largest < _FILE:
        raise UsageError(
            f"This process may write files of {largest >> 10} KiB at most (ulimit -f), and a run needs {_FILE >> 20} "
            "MiB. Raise the limit."
        )
