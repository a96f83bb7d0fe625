"""How long a run bears a backend that costs it time: in a few places it is judged in all others, everywhere it ends.

Time lost to hangs is kept for each level, and apart for scenarios of one rank and of several: a backend that hangs as
soon as ranks wait for each other goes on being judged where there is one rank. All time that brought no pass, be it by
hangs, deaths, errors that come late or servers that were killed, has one limit for the whole of a worker process.
The judge keeps one such account for cases that bind the backend, and another for those of an engine under it alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable

# Seconds for each level and kind of world in one worker process, multiplied by the backend's patience. Measured: with
# 45 s a backend that hangs wherever there are several ranks gets its certificate in less than six minutes at -n 2.
HANG_BUDGET = 45.0
LEAST_PER_HANG = 5.0
# Seconds for one case, its trials for blame included, from which on nothing more is run in it once it has hung: a hang
# that burns processor time takes a minute, and a case may ask for a dozen runs.
CASE_BUDGET = 90.0
# Seconds of one worker process in cases that came to no pass. A run of torch, with its 100 broken clauses, needs less.
TOTAL_BUDGET = 360.0


class Budget:
    """Seconds lost to the backend so far."""

    def __init__(self, patience: float = 1.0) -> None:
        self._patience = patience
        self._hung: defaultdict[tuple[str, bool], float] = defaultdict(float)
        self._in_vain = 0.0

    def refusal(self, levels: Iterable[str], world_size: int) -> str:
        """Say why a scenario of these levels is not run on so many ranks; empty where it is."""
        if self._in_vain >= TOTAL_BUDGET * self._patience:
            return f"not run: cases that came to no pass took {self._in_vain:.0f} s before it, and a run must end"
        for level in levels:
            lost = self._hung[level, world_size > 1]
            if lost >= HANG_BUDGET * self._patience:
                ranks = "several ranks" if world_size > 1 else "one rank"
                return f"not run: cases of level {level} on {ranks} hung before it, for {lost:.0f} s"
        return ""

    def refusal_within(self, seconds: float) -> str:
        """Say why nothing more is run in a case that has hung and has taken so many seconds; empty where it is."""
        if seconds < CASE_BUDGET * self._patience:
            return ""
        return f"not run: the case has hung before it, and has taken {seconds:.0f} s"

    def charge_hang(self, levels: Iterable[str], world_sizes: Collection[int], seconds: float) -> None:
        """Charge these levels for time lost to a hang in worlds of these sizes (none known: of any size)."""
        for level in levels:
            # A hang whose world is not known is charged to both, or a backend could hang for ever outside of all
            # accounts.
            for several in {size > 1 for size in world_sizes} or {False, True}:
                self._hung[level, several] += seconds

    def charge(self, seconds: float) -> None:
        """Charge the run for a case that took so much time and came to no pass."""
        self._in_vain += seconds
