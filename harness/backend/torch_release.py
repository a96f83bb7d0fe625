"""Which releases of torch the suites run with, told without importing it."""

from __future__ import annotations

import importlib.metadata
import re

from dcp_conformance.harness.errors import UsageError

OLDEST = (2, 9)


def installed() -> str:
    """Version of the torch of this environment ("2.13.0+cpu"); empty where there is none."""
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return ""


def check_torch() -> None:
    """Refuse a torch that is not there, or older than 2.9.

    Releases before that have no `Metadata.version` and no `DefaultStager`, which scenarios are written with.
    """
    needed = ".".join(map(str, OLDEST))
    found = installed()
    if not found:
        raise UsageError(f"torch is not installed beside dcp-conformance; it needs {needed} or newer.")
    release = tuple(map(int, re.findall(r"\d+", found)[:2]))
    if release < OLDEST:
        raise UsageError(
            f"dcp-conformance needs torch {needed} or newer, and here is {found}: its DCP lacks interfaces that the "
            "checks are written with. Certify in an environment with a newer torch."
        )
