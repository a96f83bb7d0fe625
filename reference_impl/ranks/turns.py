"""Operations on one process group take turns, in the order in which they were called.

Two operations that overlap in time would mix their collectives: rank 0's first save could pair with rank 1's second.
Every rank calls them in the same order, so a queue per group on each rank gives all ranks the same order.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Hashable


class Turn:
    """A place in the queue of one key. ``wait`` blocks until all earlier turns have ended; ``end`` lets the next go."""

    def __init__(self, key: Hashable) -> None:
        self._key = key
        with _changed:
            # Drawn when it is made and not when it waits: the order of calls counts, not that in which threads are
            # scheduled.
            self._number = next(_numbers)
            _queues.setdefault(key, []).append(self._number)

    def wait(self) -> None:
        me = threading.get_ident()
        with _changed:
            if _owners.get(self._key) == me:
                # An operation inside an operation of this thread (a state_dict() that loads) must not wait for itself.
                self._leave_queue()
                return
            # Without a limit: an earlier save may lawfully take hours.
            _changed.wait_for(lambda: _queues[self._key][0] == self._number)
            _owners[self._key] = me

    def end(self) -> None:
        """Give the turn back; harmless when done twice."""
        with _changed:
            self._leave_queue()

    def _leave_queue(self) -> None:
        queue = _queues.get(self._key)
        if queue is None or self._number not in queue:
            return
        if queue[0] == self._number:
            _owners.pop(self._key, None)
        queue.remove(self._number)
        if not queue:
            del _queues[self._key]
        # All of them: only one is next, and it is not known here which thread that is.
        _changed.notify_all()

    def __enter__(self) -> Turn:
        try:
            self.wait()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


_changed = threading.Condition()
_numbers = itertools.count()
_queues: dict[Hashable, list[int]] = {}
_owners: dict[Hashable, int] = {}
