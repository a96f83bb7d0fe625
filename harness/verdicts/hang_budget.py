"""How long a run waits for a backend that hangs: in a few places it is judged in all others, everywhere it still ends.

Time is kept for each level, and apart for scenarios of one rank and of several: a backend that hangs as soon as ranks
wait for each other goes on being judged where there is one rank.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable

# Seconds for each level and kind of world in one worker process, multiplied by the backend's patience. Measured: with
# 45 s a backend that hangs wherever there are several ranks gets its certificate in less than six minutes at -n 2.
HANG_BUDGET = 45.0
LEAST_PER_HANG = 5.0


class HangBudget:
    """Seconds lost to hangs so far."""

    def __init__(self, patience: float = 1.0) -> None:
        self._limit = HANG_BUDGET * patience
        self._lost: defaultdict[tuple[str, bool], float] = defaultdict(float)

    def refusal(self, levels: Iterable[str], world_size: int) -> str:
        """Why a scenario of these levels is not run on so many ranks; empty where it is."""
        for level in levels:
            lost = self._lost[level, world_size > 1]
            if lost >= self._limit:
                ranks = "several ranks" if world_size > 1 else "one rank"
                return f"not run: cases of level {level} on {ranks} hung before it, for {lost:.0f} s"
        return ""

    def charge(self, levels: Iterable[str], world_sizes: Collection[int], seconds: float) -> None:
        """A case of these levels lost so much time to a hang in worlds of these sizes (none known: of any size)."""
        for level in levels:
            for several in {size > 1 for size in world_sizes} or {False, True}:
                self._lost[level, several] += seconds
