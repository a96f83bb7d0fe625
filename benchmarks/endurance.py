"""Does a backend lose a checkpoint in the long run? `python -m benchmarks.endurance [BACKEND] [--saves N] [--seed N]`.

Saves of 1 and 2 ranks to three ids in turn at random, many of them hit by an exception, SIGKILL or a disk that is full.
After each the id is loaded: it must give what its last save that returned has stored, or what the one that was cut
would have. At the end the files, descriptors and memory that are held must be no more than at the beginning.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks import endurance_jobs
from dcp_conformance.harness.cluster import Cluster, ClusterConfig, Died, Outcome, Returned
from dcp_conformance.harness.cluster.config import ONE_THREAD
from dcp_conformance.harness.scratch import choose_scratch, discard_scratch

IDS = 3
FAULTS = ("none", "none", "raise", "kill", "full")
SETTLED = 30  # saves after which files, descriptors and memory are counted for the first time


class Endurance:
    """One long history. `committed`: id -> version and ranks of its last save that returned."""

    def __init__(self, cluster: Cluster, folder: Path, backend: str, seed: int) -> None:
        self._cluster, self._folder, self._backend, self._random = cluster, folder, backend, random.Random(seed)
        self.committed: dict[str, tuple[int, int]] = {}
        self.ended: Counter[str] = Counter()
        self.problems: list[str] = []

    def step(self, version: int) -> None:
        """One save, and a load of what it leaves."""
        name, ranks = f"id{self._random.randrange(IDS)}", self._random.choice((1, 2))
        fault, moment = self._random.choice(FAULTS), self._random.random()
        arguments = (self._backend, str(self._folder / name), version, fault, moment)
        outcomes = self._cluster.run(ranks, endurance_jobs.save, *arguments, fresh=fault == "kill", timeout=30.0)
        saved = all(isinstance(outcome, Returned) and outcome.value == "saved" for outcome in outcomes)
        self.ended[f"{fault}: {'saved' if saved else _how(outcomes)}"] += 1
        self._check(name, version, ranks, saved=saved)

    def _check(self, name: str, version: int, ranks: int, *, saved: bool) -> None:
        allowed = {} if saved or name not in self.committed else {self.committed[name][0]: self.committed[name]}
        allowed[version] = (version, ranks)
        found = {wanted: self._loaded(name, count) for wanted, count in allowed.values()}
        right = [wanted for wanted, versions in found.items() if versions == [wanted]]
        if right:
            self.committed[name] = allowed[right[-1]]
        elif saved or name in self.committed:
            self.problems.append(f"save {version} to {name} ({'returned' if saved else 'cut'}): a load gives {found}")

    def _loaded(self, name: str, ranks: int) -> list[int] | str:
        [outcome] = self._cluster.run(1, endurance_jobs.load, self._backend, str(self._folder / name), ranks)
        return outcome.value if isinstance(outcome, Returned) else str(outcome)[:200]

    def held(self) -> dict[str, int]:
        """What is held after one undisturbed save to each id: files, descriptors of this process, MiB of the server."""
        for number in range(IDS):
            arguments = (self._backend, str(self._folder / f"id{number}"), 10_000_000, "none", 0.0)
            self._cluster.run(1, endurance_jobs.save, *arguments)
            self.committed[f"id{number}"] = (10_000_000, 1)
        server = Path(f"/proc/{self._cluster.server_pid()}/status").read_text()
        memory = next(int(line.split()[1]) for line in server.splitlines() if line.startswith("VmRSS"))
        files = sum(path.is_file() for path in self._folder.rglob("*"))
        return {"files": files, "descriptors": len(os.listdir("/proc/self/fd")), "MiB": memory >> 10}


def _how(outcomes: list[Outcome]) -> str:
    kinds = {"killed" if isinstance(item, Died) else str(getattr(item, "value", "hung or raised")) for item in outcomes}
    return ", ".join(sorted(kinds))


def main() -> int:
    """Run the history; 1 where a checkpoint was lost, or more is held than before."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backend", nargs="?", default="reference_impl", help="as --backend takes it")
    parser.add_argument("--saves", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ.update(ONE_THREAD, GLOO_SOCKET_IFNAME="lo")
    scratch, began = choose_scratch(None), time.monotonic()
    try:
        ranks = Path(tempfile.mkdtemp(prefix="ranks-", dir=scratch))
        with Cluster(ClusterConfig(folder=ranks, search_path=(str(Path.cwd()),), quiet_limit=10.0)) as cluster:
            history = Endurance(cluster, scratch / "ids", options.backend, options.seed)
            first: dict[str, int] = {}
            for version in range(1, options.saves + 1):
                history.step(version)
                first = history.held() if version == SETTLED else first
            last = history.held()
    finally:
        discard_scratch(scratch)
    grown = [
        f"{name}: {first[name]} at first, {last[name]} at last" for name in first if last[name] > first[name] * 1.1
    ]
    print(f"{options.saves} saves of {options.backend} in {time.monotonic() - began:.0f} s, seed {options.seed}")
    print("\n".join(f"  {count:5} {how}" for how, count in sorted(history.ended.items())))
    print(f"  held at first {first}, at last {last}")
    print("\n".join([*history.problems, *grown]) or "  nothing was lost, and nothing grew")
    return int(bool(history.problems or grown))


if __name__ == "__main__":
    sys.exit(main())
