"""What a throw-away process finds out about the backend, so that the pytest process never imports it."""

from __future__ import annotations

import importlib.metadata
import platform

import torch

from dcp_conformance.harness.backend.description import Surveyed
from dcp_conformance.harness.backend.locate import DISTRIBUTION
from dcp_conformance.harness.backend.resolve import describe, resolve
from dcp_conformance.harness.errors import UsageError


def survey(reference: str, options: tuple[tuple[str, str], ...], second: str, device: str, cwd: str) -> Surveyed:
    """Resolve and describe the backend named `reference`, and see whether `second` can serve as a second engine.

    Raises UsageError when the backend cannot be used, or when `device` is not there.
    """
    backend = resolve(reference, dict(options), cwd)
    devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cuda" and not devices:
        raise UsageError("--device=cuda: torch sees no usable GPU on this machine.")
    usable, notes = _second_engine(second, reference, cwd)
    return Surveyed(
        description=describe(backend, reference),
        second=usable,
        devices=devices,
        has_server=backend.start is not None,
        versions={"python": platform.python_version(), "torch": str(torch.__version__), "suite": suite_version()},
        notes=notes,
    )


def suite_version() -> str:
    """The version of the installed distribution, or `unknown` in a clone that was never installed."""
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _second_engine(name: str, reference: str, cwd: str) -> tuple[str | None, tuple[str, ...]]:
    if name == "none":
        return None, ("no second engine: --second-engine=none",)
    if name == reference:
        return None, ()
    try:
        engine = resolve(name, {}, cwd)
    except UsageError as error:
        return None, (f"no second engine: {error}",)
    if engine.save is None or engine.load is None:
        return None, (f"no second engine: {name} exports no save and load",)
    return name, ()
