"""What a multi-rank test costs on our cluster and elsewhere: `python -m benchmarks.cluster [--runs N]`.

The same 2-rank sharded save and resharded load, on disk, through (a) our cluster, with output capture, fingerprints
and the numbered barrier; (b) PyTorch's MultiProcessTestCase; (c) its MultiProcContinuousTest; (d) a hand-written
loop. The four take turns in one process, so that other work on the machine hits all of them.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import statistics
import tempfile
import time
import unittest
from collections.abc import Callable
from pathlib import Path

from benchmarks import cluster_jobs as jobs
from benchmarks import cluster_scenario as scenario
from dcp_conformance.harness.cluster import Cluster, ClusterConfig, Died, Returned
from dcp_conformance.harness.cluster.config import ONE_THREAD


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=60, help="timed runs of (a), (c) and (d); (b) gets a tenth")
    parser.add_argument("--folder", type=Path, default=None, help="folder on the disk to save to")
    options = parser.parse_args()
    os.environ.update(ONE_THREAD, GLOO_SOCKET_IFNAME="lo")  # the same for all four
    scratch = Path(tempfile.mkdtemp(prefix="cluster-benchmark-", dir=options.folder))
    try:
        _Benchmark(scratch).run(options.runs)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _Benchmark:
    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._numbers = itertools.count()
        os.environ[jobs.FOLDER_VARIABLE] = str(scratch / "kept")
        self._cluster = Cluster(ClusterConfig(folder=scratch / "ranks"))
        self._loop = jobs.HandWrittenLoop(scratch)

    def run(self, runs: int) -> None:
        """Time all four ways, and the replacement of a killed rank, and print the figures."""
        ways = {"a": self._ours, "c": self._kept_processes, "d": self._hand_written}
        times: dict[str, list[float]] = {name: [] for name in "abcd"}
        start = self._seconds(self._cluster.start)
        for way in ways.values():
            for _ in range(3):
                way()
        for number in range(runs):
            # Turns begin with another way each time: who comes after the slow (b) finds colder caches.
            order = [*ways][number % 3 :] + [*ways][: number % 3]
            for name in order:
                times[name].append(self._seconds(ways[name]))
            if number % 10 == 0:
                times["b"].append(self._seconds(self._new_processes))
                for way in ways.values():
                    way()
        replaced = [self._replacement() for _ in range(max(5, runs // 4))]
        self._loop.close()
        jobs.KeptProcesses.tearDownClass()  # type: ignore[no-untyped-call]
        self._cluster.close()
        _report(start, times, [pair[0] for pair in replaced], [pair[1] for pair in replaced])

    def _ours(self) -> None:
        outcomes = self._cluster.run(scenario.WORLD_SIZE, scenario.save_and_reshard, self._folder())
        if not all(isinstance(outcome, Returned) and not outcome.leftovers for outcome in outcomes):
            raise AssertionError(outcomes)

    def _hand_written(self) -> None:
        self._loop.run(self._folder())

    def _kept_processes(self) -> None:
        _run_case(jobs.KeptProcesses("test_scenario"))

    def _new_processes(self) -> None:
        kept = os.environ[jobs.FOLDER_VARIABLE]
        os.environ[jobs.FOLDER_VARIABLE] = self._folder()
        try:
            _run_case(jobs.PerTestProcesses("test_scenario"))
        finally:
            os.environ[jobs.FOLDER_VARIABLE] = kept

    def _replacement(self) -> tuple[float, float]:
        """Kill a rank, then run the scenario: seconds from the kill, and from the start of the second run."""
        started = time.monotonic()
        killed = self._cluster.run(scenario.WORLD_SIZE, scenario.kill_last_rank)[-1]
        if not isinstance(killed, Died):
            raise AssertionError(killed)
        next_run = time.monotonic()
        self._ours()
        ended = time.monotonic()
        return ended - (started + killed.events[0].at), ended - next_run

    def _folder(self) -> str:
        return str(self._scratch / f"checkpoint-{next(self._numbers)}")

    def _seconds(self, action: Callable[[], object]) -> float:
        started = time.perf_counter()
        action()
        return time.perf_counter() - started


def _run_case(case: unittest.TestCase) -> None:
    result = unittest.TestResult()
    case.run(result)
    if not result.wasSuccessful() or result.skipped:
        raise AssertionError(result.errors or result.failures or result.skipped)


def _report(start: float, times: dict[str, list[float]], killed: list[float], replaced: list[float]) -> None:
    middle = {name: statistics.median(values) for name, values in times.items()}
    names = {
        "a": "our cluster",
        "b": "MultiProcessTestCase",
        "c": "MultiProcContinuousTest",
        "d": "hand-written loop",
    }
    print(f"2-rank sharded save + resharded load, milliseconds; our server started in {start:.1f} s")
    for name, values in times.items():
        least, most = min(values) * 1000, max(values) * 1000
        figures = f"median {middle[name] * 1000:8.1f}   {least:.1f} to {most:.1f}, n={len(values)}"
        print(f"({name}) {names[name]:24} {figures}")
    print(f"(b)/(a) {middle['b'] / middle['a']:.0f} times     target 100 or more")
    print(f"(a)/(c) {middle['a'] / middle['c']:.2f} times    target at most 1")
    print(f"(a)/(d) {middle['a'] / middle['d']:.2f} times    target at most 1.3")
    for what, values in {"SIGKILL of a rank": killed, "the call of the next run": replaced}.items():
        print(
            f"from {what} to that run's result: median {statistics.median(values) * 1000:.0f} ms, "
            f"most {max(values) * 1000:.0f} ms, n={len(values)}     target 150 ms"
        )


if __name__ == "__main__":
    main()
