"""Faulty planners: the planner that the engine under test would use, with a tap at the planner interface.

The faults are those of `harness.faults.fault`; a phase is the name of the planner's method. They act on the thread
that called the planner: for `resolve_data`, `load_bytes`, `resolve_tensor` and `commit_tensor` the storage chooses it.

What it cannot see: planners that an engine makes for itself, and calls that a planner makes to itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dcp_conformance.harness.faults.fault import PLANNER_PHASES, Fault
from dcp_conformance.harness.faults.proxy import interpose
from dcp_conformance.harness.faults.storage import act, announce


@dataclass
class PlannerTap:
    """The tap of one planner on one rank: acts out the faults, and emits each that was reached."""

    rank: int
    faults: tuple[Fault, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)

    def call(self, method: str, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Act before, perform, act after."""
        count = self.counts[method] = self.counts.get(method, 0) + 1
        self._act(method, count, after=False)
        result = inner(*args, **kwargs)
        self._act(method, count, after=True)
        return result

    def _act(self, phase: str, count: int, *, after: bool) -> None:
        for fault in self.faults:
            if fault.acts_on(phase, self.rank, count, after=after):
                # Before it acts: after a kill nobody could say that the fault was reached.
                announce("fault", phase=phase, what=fault.kind)
                act(fault)


def faulty_planner(planner: object, *, rank: int, faults: tuple[Fault, ...]) -> Any:
    """`planner` with `faults` acted out on this rank; seen as the real planner by whoever asks."""
    return interpose(planner, tuple(PLANNER_PHASES), PlannerTap(rank, faults))
