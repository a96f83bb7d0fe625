"""States beyond 2 and 4 GiB, looked at where a counter would overflow; and many small values."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded, pattern
from dcp_conformance.harness.subject.session import Session, into_subject

WINDOW = 64 * 1024
GIB = 1 << 30
NEEDED_MEMORY = 10 * GIB
NEEDED_DISK = 6 * GIB
TENSORS, OBJECTS = 1000, 100


def _shifted_views(fill: int) -> dict[str, torch.Tensor]:
    base = _filled(GIB, fill)
    return {f"view{shift}": base[8 * shift :] for shift in range(5)}


STATES: dict[str, Callable[[int], dict[str, torch.Tensor]]] = {
    "bytes_beyond_2gib": lambda fill: {"t": _filled((1 << 31) + 8, fill)},
    "doubles_beyond_4gib": lambda fill: {"t": _filled(((1 << 29) + 1) * 8, fill).view(torch.float64)},
    "five_views_of_1gib": _shifted_views,
}


def room_for_large(session: Session) -> list[str]:
    """Report what is missing here for states of 5 GiB, in words."""
    missing = []
    available = _available_memory()
    if available < NEEDED_MEMORY:
        missing.append(f"{available / GIB:.1f} GiB of memory are free, {NEEDED_MEMORY / GIB:.0f} are needed")
    free = shutil.disk_usage(session.spec.scratch).free
    if free < NEEDED_DISK:
        missing.append(f"{free / GIB:.1f} GiB are free below the scratch folder, {NEEDED_DISK / GIB:.0f} are needed")
    return missing


def _available_memory() -> int:
    """Bytes that the kernel can give without swapping; what it keeps of files counts, as it lets go of them."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def large_round_trip(session: Session, name: str) -> tuple[Attempt, list[str]]:
    """Save a large state, load it: how the save ended, and at which bytes a key differs after the load."""
    checkpoint_id = session.new_id()
    try:
        return _round_trip(session, name, checkpoint_id)
    finally:  # several of these until the end of the run would fill a disk
        into_subject(session.storage.discard, checkpoint_id)


def _round_trip(session: Session, name: str, checkpoint_id: str) -> tuple[Attempt, list[str]]:
    state = STATES[name](1)
    attempt = session.attempt(session.save, state, checkpoint_id)
    if not attempt.ok:
        return attempt, []
    wanted = {(key, place): cut.clone() for key, tensor in state.items() for place, cut in _windows(tensor)}
    sizes = {key: (tensor.numel(), tensor.dtype) for key, tensor in state.items()}
    del state  # so that no more than one copy is held while loading
    target = {key: torch.full((count,), 0, dtype=dtype) for key, (count, dtype) in sizes.items()}
    session.load(target, checkpoint_id)
    loaded = {(key, place): cut for key, tensor in target.items() for place, cut in _windows(tensor)}
    return attempt, [
        f"{key!r} differs in the {WINDOW} bytes from byte {place}"
        for (key, place), cut in wanted.items()
        if not torch.equal(cut, loaded[key, place])
    ]


def many_small_values(session: Session) -> tuple[float, float, list[Difference]]:
    """Save and load a thousand tensors of 1 to 8 elements and a hundred objects; report seconds, and what differs."""
    state: dict[str, Any] = {f"layer{n}.weight": coded(n, (1 + n % 8,), version=1) for n in range(TENSORS)}
    if "objects" not in session.storage.unsupported:
        state |= {f"object{n}": {"number": n, "text": f"object {n}"} for n in range(OBJECTS)}
    checkpoint_id, target, began = session.new_id(), blank(state), time.monotonic()
    session.save(state, checkpoint_id)
    saved = time.monotonic()
    session.load(target, checkpoint_id)
    return saved - began, time.monotonic() - saved, differences(state, target)


def _filled(size: int, fill: int) -> torch.Tensor:
    """`size` zero bytes, with arbitrary ones at the places that are looked at."""
    tensor = torch.zeros(size, dtype=torch.uint8)
    for place, cut in _windows(tensor):
        cut.copy_(pattern(f"{place}", (cut.numel(),), torch.uint8, version=fill))
    return tensor


def _windows(tensor: torch.Tensor) -> list[tuple[int, torch.Tensor]]:
    """Return the first and last bytes of a tensor, and those around 2^31 and 2^32, each as (place, uint8 view)."""
    raw = tensor.view(torch.uint8)
    places = (0, (1 << 31) - WINDOW // 2, (1 << 32) - WINDOW // 2, raw.numel() - WINDOW)
    return [(place, raw[place : place + WINDOW]) for place in places if 0 <= place < raw.numel()]
