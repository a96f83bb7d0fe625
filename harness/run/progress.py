"""What a person sees while a run goes on: one line that lives in a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TextIO

from dcp_conformance.harness.certificate.prose import one_line

_LIVE_PAUSE = 0.2
_LOG_PAUSE = 30.0
_NAMED = 4
# A case that no earlier run tells of takes about as long as the mean of those that were seen.
_UNKNOWN = 0.3


class Progress:
    """Counts cases and findings of a run, and writes lines about them.

    earlier: seconds of each case in an earlier run, for the time that is left.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        live: bool,
        width: int,
        earlier: Mapping[str, float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream, self._live, self._width, self._clock = stream, live, width, clock
        self._earlier = earlier
        self._mean = sum(earlier.values()) / len(earlier) if earlier else _UNKNOWN
        self._left: dict[str, float] = {}
        self._expected = self._done = 0
        self._began = self._written = clock()
        self._work = 0.0
        self._broken: dict[str, int] = {}

    def expect(self, cases: Iterable[str]) -> None:
        """Expect these cases to run; those that were told before count once."""
        for case in cases:
            # Every worker of xdist collects all cases and tells of all of them.
            if case not in self._left:
                self._left[case] = self._earlier.get(case, self._mean)
                self._expected += 1

    def done(self, case: str, level: str, broken: Mapping[str, int]) -> None:
        """Count a case that ended. broken: clauses that it broke, with the rank of the harm (0 is the worst)."""
        self._done += 1
        # Counted in seconds of the earlier run, not in cases: these differ widely in what they cost.
        self._work += self._left.pop(case, 0.0)
        for clause, harm in broken.items():
            self._broken[clause] = min(harm, self._broken.get(clause, harm))
        if self._clock() - self._written >= (_LIVE_PAUSE if self._live else _LOG_PAUSE):
            self._write(self.line(level))

    def line(self, level: str) -> str:
        """Say how far the run is, and the worst that it found so far."""
        parts = [f"{level:<13} {self._done} of {self._expected} cases", self._remaining()]
        if self._broken:
            worst = sorted(self._broken, key=lambda clause: (self._broken[clause], clause))
            more = f" and {len(worst) - _NAMED} more" if len(worst) > _NAMED else ""
            parts.append(f"broken: {', '.join(worst[:_NAMED])}{more}")
        return one_line("; ".join(part for part in parts if part), self._width)

    def close(self) -> None:
        """Take the living line away."""
        # Nothing was written yet: an escape sequence would be all that a short run leaves in the terminal.
        if self._live and self._written > self._began:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _remaining(self) -> str:
        """Return the time that is left, at the pace of this run; nothing before there is a pace."""
        spent = self._clock() - self._began
        # The first cases start ranks and tell nothing of the pace.
        if self._work <= 0 or spent < 2:
            return ""
        seconds = sum(self._left.values()) * spent / self._work
        return f"about {seconds:.0f} s left" if seconds < 90 else f"about {seconds / 60:.0f} min left"

    def _write(self, line: str) -> None:
        self._written = self._clock()
        # A log keeps every line, so there it is a new one; a terminal would scroll.
        self._stream.write(f"\r\x1b[K{line}" if self._live else f"{line}\n")
        self._stream.flush()
