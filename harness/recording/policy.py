"""Which file operation meets which fault: plain rules, matched and counted by the supervisor."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

ACTIONS = ("error", "short", "slow", "kill")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One fault. The calls it counts are those of `calls` that match `rank`, `thread` and `path`."""

    #: Operations, as in harness.recording.operations.CALLS.
    calls: tuple[str, ...]
    #: Which of them it acts on, from 1.
    nth: int = 1
    #: Act on all later ones too.
    sticky: bool = False
    #: -1 for any.
    rank: int = -1
    #: -1 for any; threads are numbered anew when rules are set.
    thread: int = -1
    #: A pattern of fnmatch for the path below the watched folder.
    path: str = "*"
    #: "error": answered with `errno`, nothing is done (a close is done, and the error reported). "short": a write
    #: writes half and says so. "slow": done after `seconds`. "kill": SIGKILL to the process at entry, nothing is done.
    action: str = "error"
    errno: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.action not in ACTIONS or self.nth < 1 or (self.action == "error" and self.errno <= 0):
            raise ValueError(f"no such fault: {self}")

    def counts(self, call: str, rank: int, thread: int, path: str) -> bool:
        """Tell whether a call is one of those that this rule counts."""
        if self.action == "short" and call != "write":
            return False
        right_place = self.rank in (-1, rank) and self.thread in (-1, thread)
        return call in self.calls and right_place and fnmatch.fnmatchcase(path, self.path)


class Policy:
    """Rules with their counts. The first rule that acts decides."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self._rules = tuple(rules)
        self._counted: Counter[int] = Counter()
        self.reached: Counter[int] = Counter()

    def fault(self, call: str, rank: int, thread: int, path: str) -> Rule | None:
        """Count a call with all rules; the rule that acts on it, if any does."""
        found = None
        for place, rule in enumerate(self._rules):
            if not rule.counts(call, rank, thread, path):
                continue
            # All rules count, also those behind one that acts: "the third write" must not depend on what else is asked
            # for.
            self._counted[place] += 1
            # Both kinds are needed: a disk that stays full fails the metadata as well, and so hides errors that a
            # thread lost.
            due = self._counted[place] >= rule.nth if rule.sticky else self._counted[place] == rule.nth
            if due and found is None:
                found = rule
                self.reached[place] += 1
        return found


def encoded(rules: Sequence[Rule]) -> list[dict[str, Any]]:
    """Rules as JSON has them."""
    return [asdict(rule) for rule in rules]


def decoded(rules: Sequence[dict[str, Any]]) -> list[Rule]:
    """Rules from what `encoded` gave."""
    return [Rule(**{**rule, "calls": tuple(rule["calls"])}) for rule in rules]
