"""What a throw-away process finds out about the backend, so that the pytest process never imports it."""

from __future__ import annotations

import importlib.metadata
import platform

import torch

from dcp_conformance.harness.backend.description import Surveyed
from dcp_conformance.harness.backend.locate import DISTRIBUTION
from dcp_conformance.harness.backend.resolve import describe, resolve
from dcp_conformance.harness.cluster.devices import device_count
from dcp_conformance.harness.devices import SIMULATED
from dcp_conformance.harness.errors import UsageError

DEFAULT_SECOND = "reference_impl"


def survey(reference: str, options: tuple[tuple[str, str], ...], second: str, device: str, cwd: str) -> Surveyed:
    """Resolve and describe the backend named `reference`, and see whether `second` can serve as a second engine.

    Raises UsageError when the backend cannot be used, or when `device` is not there.
    """
    backend = resolve(reference, dict(options), cwd)
    devices = _devices(device)
    usable, notes = _second_engine(second, reference, cwd)
    return Surveyed(
        description=describe(backend, reference),
        second=usable,
        devices=devices,
        has_server=backend.start is not None,
        versions={"python": platform.python_version(), "torch": str(torch.__version__), "suite": suite_version()},
        notes=(*notes, *_unused_devices(device)),
    )


def _devices(kind: str) -> int:
    """Return how many devices of the kind that --device names there are; 0 for the CPU. Raises UsageError for none."""
    count = 0 if kind == "cpu" else device_count(kind)
    if kind != "cpu" and not count:
        raise UsageError(f"--device={kind}: {_why_none(kind)}")
    return count


def _why_none(kind: str) -> str:
    if kind == SIMULATED:
        return f"torch {torch.__version__} cannot carry simulated devices (docs/devices.md); 2.13 can."
    if kind == "cuda":
        return "torch sees no usable GPU on this machine."
    found = torch.accelerator.current_accelerator()
    others = "none" if found is None else f"{found.type} only"
    return f"torch sees no such device on this machine; of accelerators it knows {others}."


def _unused_devices(kind: str) -> tuple[str, ...]:
    found = torch.accelerator.current_accelerator(check_available=True) if kind == "cpu" else None
    if found is None:
        return ()
    return (f"--device {found.type} certifies the level accelerator here; this run was on the CPU",)


def suite_version() -> str:
    """Return the version of the installed distribution, or `unknown` in a clone that was never installed."""
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
        return None, _no_second(name, str(error).replace(f"--backend={name}: ", "", 1))
    if engine.save is None or engine.load is None:
        return None, _no_second(name, f"{name} exports no save and load")
    return name, ()


def _no_second(name: str, why: str) -> tuple[str, ...]:
    """Say why there is none. Raises UsageError where one was asked for: every failure would be without blame."""
    if name != DEFAULT_SECOND:
        raise UsageError(f"--second-engine={name} cannot be used ('none' for none): {why}")
    return (f"no second engine: {why}",)
