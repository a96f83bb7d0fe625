"""How many failing disks a second: `python -m benchmarks.live_errors [BACKEND] [--runs N]`.

One process saves again and again below the recorder; in each save the n-th file operation of a kind fails, and what is
there afterwards is loaded and compared. A point is a save under a fault (an overwrite: two saves) and a load.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from dcp_conformance.harness.cluster import Cluster, ClusterConfig
from dcp_conformance.harness.cluster.config import ONE_THREAD
from dcp_conformance.harness.laws.verbs import must_return
from dcp_conformance.harness.scratch import choose_scratch, discard_scratch
from dcp_conformance.harness.subject.spec import TORCH_ENGINE, Part, SubjectSpec

SCENARIO = "dcp_conformance.suites.durability.live.on_ranks_live_errors:failing_saves"


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backend", nargs="?", default="reference_impl", help="as --backend takes it")
    parser.add_argument("--runs", type=int, default=3, help="runs of each row; the fastest is shown")
    parser.add_argument("--folder", default=None, help="folder on the disk to save to")
    options = parser.parse_args()
    os.environ.update(ONE_THREAD, GLOO_SOCKET_IFNAME="lo")
    scratch = choose_scratch(options.folder)
    ranks = Path(tempfile.mkdtemp(prefix="ranks-", dir=scratch))
    try:
        with Cluster(ClusterConfig(folder=ranks, search_path=(str(Path.cwd()),))) as cluster:
            _measure(cluster, scratch, options.backend, options.runs)
    finally:
        shutil.rmtree(ranks, ignore_errors=True)
        discard_scratch(scratch)


def _measure(cluster: Cluster, scratch: Path, backend: str, runs: int) -> None:
    print(f"{backend}, load average {os.getloadavg()[0]:.1f} at the start")
    print("save       fault          points  seconds  points a second")
    for situation in ("fresh", "overwrite"):
        for how in ("once", "from_then_on", "short_or_slow"):
            timed = [_run(cluster, scratch, backend, f"{situation}-{how}-{run}", situation, how) for run in range(runs)]
            seconds, points = min(timed)
            print(f"{situation:10} {how:13} {points:7} {seconds:8.2f} {points / seconds:16.0f}")


def _run(cluster: Cluster, scratch: Path, backend: str, place: str, situation: str, how: str) -> tuple[float, int]:
    spec = SubjectSpec(
        under_test=backend, storage=Part(reference=backend), engine=Part(reference=TORCH_ENGINE),
        scratch=str(scratch), place=place, folder=str(Path.cwd()),
    )  # fmt: skip
    began = time.monotonic()
    outcomes = cluster.run(
        1, "dcp_conformance.harness.subject.session:perform", spec, SCENARIO, (situation, how), fresh=True
    )
    seconds = time.monotonic() - began
    points: list[dict[str, Any]] = must_return(outcomes)[0]
    return seconds, sum(1 for point in points if point["reached"])


if __name__ == "__main__":
    main()
