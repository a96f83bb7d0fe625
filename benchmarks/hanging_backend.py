"""A storage pair that never comes back where there is more than one rank: what a certificate of the worst costs.

time dcp-conformance benchmarks/hanging_backend.py -n 2
"""

from __future__ import annotations

import time
from typing import Any

from torch import distributed as dist
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter


def _hang_among_ranks() -> None:
    while dist.is_initialized() and dist.get_world_size() > 1:
        time.sleep(60.0)


class Writer(FileSystemWriter):
    """Torch's writer that stops in `write_data`."""

    def write_data(self, *args: Any, **kwargs: Any) -> Any:
        """Never returns on several ranks."""
        _hang_among_ranks()
        return super().write_data(*args, **kwargs)


class Reader(FileSystemReader):
    """Torch's reader that stops in `read_data`."""

    def read_data(self, *args: Any, **kwargs: Any) -> Any:
        """Never returns on several ranks."""
        _hang_among_ranks()
        return super().read_data(*args, **kwargs)
