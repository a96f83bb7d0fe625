"""How much device memory a save and a load take beside the state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import coded
from dcp_conformance.harness.subject.session import Session
from dcp_conformance.suites.accelerator.on_devices import blank_on, moved, seen, wait
from dcp_conformance.suites.accelerator.seen import Seen

#: Tensors of a state, and float64 numbers of each: half a MiB.
COUNT, ROWS = 8, 1 << 16


@dataclass(frozen=True, kw_only=True)
class Peak:
    """Bytes of device memory beyond the state at the worst moment, and of the largest tensor."""

    seen: Seen
    save: int
    load: int
    largest: int


def peak_of_save_and_load(session: Session) -> Peak:
    """Save tensors from a device and load them back to it."""
    if not hasattr(torch.accelerator, "max_memory_allocated"):
        session.give_up(f"torch {torch.__version__} does not tell how much memory of a device was in use")
    values = {f"t{place} of {session.rank}": coded(place, (ROWS,), version=1) for place in range(COUNT)}
    checkpoint_id, given = session.new_id(), moved(values, session.device)
    save = _beyond(session, lambda: session.save(given, checkpoint_id))
    target = blank_on(values, session.device)
    load = _beyond(session, lambda: session.load(target, checkpoint_id))
    largest = max(value.nbytes for value in values.values())
    return Peak(seen=seen(session, differences(values, target)), save=save, load=load, largest=largest)


def _beyond(session: Session, call: Callable[[], object]) -> int:
    wait()
    index = torch.device(session.device).index
    before = torch.accelerator.memory_allocated(index)
    torch.accelerator.reset_peak_memory_stats(index)
    call()
    wait()
    return torch.accelerator.max_memory_allocated(index) - before
