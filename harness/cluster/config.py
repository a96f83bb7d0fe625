"""Options of a cluster, in one frozen record, and what its fork server imports before the first fork."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

LARGEST_WORLD = 64

#: What a job with FSDP, DTensor and DCP imports sooner or later. Names that a torch release lacks are skipped.
DEFAULT_PRELOAD: tuple[str, ...] = (
    "torch",
    "torch.distributed",
    "torch.distributed.checkpoint",
    "torch.distributed.checkpoint.state_dict",
    "torch.distributed.checkpoint.format_utils",
    "torch.distributed.tensor",
    "torch.distributed.fsdp",
    "torch.distributed._shard.sharded_tensor",
    # Imported by torch itself at the first use. Measured on 2.13: without them the first distribute_tensor of every
    # fresh rank takes 1.0 s and 212 modules, the first save 35 ms and 18 modules, the first FSDP2 step one more.
    "torch._dynamo",
    "torch.distributed.checkpoint._fsspec_filesystem",
    "torch.utils.serialization.config",
    "torch.utils._device",
    "torch.profiler._cupti_monitor",
)

#: Without these, importing torch or numpy starts threads, and a process with threads must not fork.
ONE_THREAD: Mapping[str, str] = MappingProxyType(
    {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "NUMEXPR_NUM_THREADS": "1",
        "VECLIB_MAXIMUM_THREADS": "1",
    }
)


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """Options of a cluster. Times are seconds."""

    #: Where worlds keep their stores, logs and stacks; made when missing.
    folder: Path
    #: Modules the server imports itself: trusted not to hang, crash or start threads.
    preload: tuple[str, ...] = DEFAULT_PRELOAD
    #: Modules tried in a forked child first, and skipped when they fail or start a thread.
    optional_preload: tuple[str, ...] = ()
    #: Folders for the end of sys.path.
    search_path: tuple[str, ...] = ()
    #: Added to the environment of the server and its ranks.
    environment: Mapping[str, str] = field(default_factory=dict)
    #: Never use a world twice.
    fresh_ranks: bool = False
    #: `cpu`, `sim`, or a type of accelerator that torch knows.
    device: str = "cpu"
    #: A hang is declared when no rank has answered or used processor time for so long.
    quiet_limit: float = 15.0
    #: A hang is declared after so long in any case.
    total_limit: float = 60.0
    #: Multiplies the limit that a run is given; the limits here have it in them already.
    patience: float = 1.0
    #: Time-out of the ranks' process group.
    group_timeout: float = 300.0
    #: Measure with coverage.py in the server and the ranks; ranks that are killed lose their data.
    coverage: bool = False
    #: Socket at which the server takes in other driving processes, each with a branch of the server for itself. The
    #: driving process that gives this must run no job while there are branches.
    nursery: Path | None = None
    #: The nursery of a server with the same options: a branch of it is used instead of a server of one's own.
    branch_of: Path | None = None
    #: How long threads, children and open files of a finished run may take to go away before they are leftovers.
    settle_limit: float = 0.5
