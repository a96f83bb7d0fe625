"""Who is missing when a collective breaks: each rank signs in to the group's store before it.

What a collective says of a lost peer is an address or a time-out. The store of the group answers although the
collectives are broken, so a rank that was left alone reads there who has not come as far as itself.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

import torch.distributed as dist

from dcp_conformance.reference_impl.errors import RankMissingError

#: Seconds to wait, where several ranks have not come yet, for those that are only a little late.
PATIENCE = 1.0


@dataclass(frozen=True)
class RollCall:
    """The signatures of one group. A rank that cannot reach the store signs nothing and misses nobody."""

    group: dist.ProcessGroup | None
    rank: int
    size: int

    def sign(self) -> int:
        """Note that this rank enters the next collective; how many it has entered so far, 0 where that is unknown.

        One round trip to the store.
        """
        with contextlib.suppress(Exception):  # a group without a store, or a store whose host is gone
            # `add` and no `set`: one round trip, and the count says how far this rank has come.
            return self._store().add(self._key(self.rank), 1)
        return 0

    def missing(self, entered: int, said: Exception) -> dict[int, RankMissingError]:
        """Return an error for each rank that is furthest behind one which has entered so many collectives.

        said: how the last of these collectives failed.
        """
        behind: dict[int, int] = {}
        with contextlib.suppress(Exception):
            until = time.monotonic() + PATIENCE
            while len(behind := self._furthest_behind(entered)) > 1 and time.monotonic() < until:
                time.sleep(0.02)
        return {
            rank: RankMissingError(f"rank {rank} did not come as far as rank {self.rank}; the collective said: {said}")
            for rank in behind
        }

    def _furthest_behind(self, entered: int) -> dict[int, int]:
        counts = {rank: self._store().add(self._key(rank), 0) for rank in range(self.size) if rank != self.rank}
        least = min(counts.values())
        return {rank: count for rank, count in counts.items() if count == least < entered}

    def _key(self, rank: int) -> str:
        return f"reference_impl/entered/{rank}"

    def _store(self) -> dist.Store:
        group = dist.group.WORLD if self.group is None else self.group
        assert group is not None
        return group.get_group_store()
