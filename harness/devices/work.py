"""Queued work of simulated devices: it runs when somebody waits for it, and not before.

A real device runs its queues as soon as it can, so a missing wait is seen once in a thousand runs. Here work runs as
late as the calls allow, and of two queues without an order the one that was filled last runs first: a missing wait is
seen every time. Knows nothing of torch.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

#: The number of each device's default queue.
DEFAULT = 0


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A place in a queue: everything up to `number` must have run."""

    device: int
    queue: int
    number: int


@dataclass(kw_only=True)
class _Queue:
    work: deque[tuple[int, Callable[[], None]]] = field(default_factory=deque)
    #: The number of the last piece of work that came in.
    filled: int = 0


class Work:
    """The queues of all simulated devices of this process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._queues: dict[tuple[int, int], _Queue] = {}
        self._numbers = itertools.count(1)
        self._names = itertools.count(DEFAULT + 1)

    def new_queue(self) -> int:
        """Return the number of a queue that nobody else has."""
        return next(self._names)

    def put(self, device: int, queue: int, action: Callable[[], None]) -> None:
        """Queue `action`."""
        with self._lock:
            held = self._queues.setdefault((device, queue), _Queue())
            held.filled = next(self._numbers)
            held.work.append((held.filled, action))

    def mark(self, device: int, queue: int) -> Mark:
        """Return the place behind everything that the queue holds now."""
        with self._lock:
            held = self._queues.get((device, queue))
            return Mark(device=device, queue=queue, number=held.filled if held else 0)

    def wait(self, device: int, queue: int, mark: Mark) -> None:
        """Let what comes into the queue from now on run after `mark`. The caller does not wait."""
        self.put(device, queue, lambda: self.finish(mark))

    def done(self, mark: Mark) -> bool:
        """Tell whether everything up to `mark` has run."""
        with self._lock:
            held = self._queues.get((mark.device, mark.queue))
            return held is None or not held.work or held.work[0][0] > mark.number

    def finish(self, mark: Mark) -> None:
        """Run everything up to `mark`. An error of a piece of work comes out here, as on a real device."""
        with self._lock:
            while not self.done(mark):
                _number, action = self._queues[mark.device, mark.queue].work.popleft()
                action()

    def finish_queue(self, device: int, queue: int) -> None:
        """Run all that the queue holds."""
        self.finish(self.mark(device, queue))

    def finish_device(self, device: int) -> None:
        """Run all queues of a device, the one that was filled last first."""
        with self._lock:
            mine = [(held.filled, number) for (place, number), held in self._queues.items() if place == device]
            for _filled, number in sorted(mine, reverse=True):
                self.finish_queue(device, number)
