"""What a crash leaves of a save, and how fast that is found out: `python -m benchmarks.crash [BACKEND]`.

Prints the tables of states (killed; power cut with a journal; power cut on a strict file system) and what they load
as, for saves to a new id and over an old checkpoint, by one and two ranks and with the settings that the backend
offers; and states per second, generation and loading together. The work is shared by as many processes as --workers.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import multiprocessing
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from dcp_conformance.harness.backend.description import Surveyed
from dcp_conformance.harness.certificate.tables import table_lines
from dcp_conformance.harness.cluster import Cluster, ClusterConfig
from dcp_conformance.harness.cluster.config import ONE_THREAD
from dcp_conformance.harness.crashes import explore as crashes
from dcp_conformance.harness.crashes.explore import Situation
from dcp_conformance.harness.laws.observations import Row
from dcp_conformance.harness.laws.verbs import Untestable, must_return
from dcp_conformance.harness.subject.spec import TORCH_ENGINE, Part, SubjectSpec
from dcp_conformance.harness.subject.subject import Subject

FIXED = (
    Situation(), Situation(ranks=2), Situation(before=1), Situation(before=4), Situation(ranks=2, before=2),
    Situation(ranks=2, before=1), Situation(ranks=2, before=4),
)  # fmt: skip
MOST_SETTINGS = 3


@dataclass(frozen=True)
class Measured:
    """One situation: rows of the table, seconds of recording, generating and loading, states loaded."""

    rows: list[Row]
    recording: float
    generating: float
    loading: float
    states: int
    trees: int
    problem: str = ""


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backend", nargs="?", default="reference_impl")
    parser.add_argument("--most", type=int, default=1000, help="trees to load for each situation, at most")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=None, help="folder on the disk to save to")
    parser.add_argument("--keep", type=Path, default=None, help="copy the recordings to this folder")
    options = parser.parse_args()
    os.environ.update(ONE_THREAD)
    scratch = Path(tempfile.mkdtemp(prefix="crash-benchmark-", dir=options.folder))
    try:
        _run(options, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _run(options: argparse.Namespace, scratch: Path) -> None:
    situations = [*FIXED, *_with_settings(options.backend, scratch)]
    began = time.monotonic()
    with concurrent.futures.ProcessPoolExecutor(options.workers, multiprocessing.get_context("spawn")) as pool:
        shares = [situations[number :: options.workers] for number in range(options.workers)]
        jobs = [
            pool.submit(_measured, options.backend, share, scratch / str(number), options.most, options.keep)
            for number, share in enumerate(shares)
        ]
        results = [item for job in jobs for item in job.result()]
    _report(results, time.monotonic() - began, options.workers)


def _measured(backend: str, share: list[Situation], folder: Path, most: int, keep: Path | None) -> list[Measured]:
    folder.mkdir()
    with Cluster(_config(backend, folder)) as cluster:
        return [_one(cluster, backend, situation, folder, most, keep) for situation in share]


def _one(cluster: Cluster, backend: str, situation: Situation, folder: Path, most: int, keep: Path | None) -> Measured:
    subject = _subject(cluster, backend, folder)
    times = [time.monotonic()]
    try:
        found = crashes.recorded(subject, situation)
    except Untestable as reason:
        return Measured([], 0.0, 0.0, 0.0, 0, 0, f"{situation.name}: {reason}")
    times.append(time.monotonic())
    crashes.make_states(found)
    times.append(time.monotonic())
    crashes.load_all(subject, found, most=most, seconds=120.0)
    times.append(time.monotonic())
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        for number, item in enumerate(found.recordings):
            item.save(keep / f"{situation.name.replace(' ', '_')}-{number}.recording")
    states = sum(key in found.results for listed in found.by_model.values() for key in map(crashes.key, listed))
    begun, recorded, generated, loaded = times
    return Measured(
        found.rows(), recorded - begun, generated - recorded, loaded - generated, states, len(found.results)
    )  # fmt: skip


def _with_settings(backend: str, scratch: Path) -> list[Situation]:
    folder = scratch / "survey"
    folder.mkdir()
    with Cluster(_config(backend, folder)) as cluster:
        [sets] = must_return(_subject(cluster, backend, folder).run(1, crashes.on_ranks.option_sets))
    numbers = range(1, min(len(sets), MOST_SETTINGS + 1))
    fresh = [Situation(options=number, said=sets[number]) for number in numbers]
    over = [Situation(before=1, options=number, old_options=number, said=sets[number]) for number in numbers]
    return fresh + over


def _subject(cluster: Cluster, backend: str, folder: Path) -> Subject:
    own = Part(reference=backend)
    [surveyed] = must_return(
        [cluster.call("dcp_conformance.harness.backend.survey:survey", backend, (), "none", "cpu", os.getcwd())]
    )
    assert isinstance(surveyed, Surveyed)
    letters = surveyed.description.letters
    spec = SubjectSpec(
        under_test=backend, storage=own, engine=own if "E" in letters else Part(reference=TORCH_ENGINE),
        scratch=str(folder), place=f"at-{time.monotonic_ns()}", folder=os.getcwd(),
    )  # fmt: skip
    return Subject(cluster, spec, ())


def _config(backend: str, folder: Path) -> ClusterConfig:
    ranks = Path(tempfile.mkdtemp(prefix="ranks-", dir=folder))
    return ClusterConfig(folder=ranks, optional_preload=(backend.partition(":")[0],), search_path=(os.getcwd(),))


def _report(results: list[Measured], seconds: float, workers: int) -> None:
    rows = sorted(row for item in results for row in item.rows)
    for line in table_lines(crashes.TABLE, crashes.COLUMNS, rows, most=len(rows)):
        print(line)
    for item in results:
        if item.problem:
            print(f"not recorded: {item.problem}")
    work = sum(item.generating + item.loading for item in results)
    trees, states = sum(item.trees for item in results), sum(item.states for item in results)
    print(f"recording {sum(item.recording for item in results):.1f} s, generating "
          f"{sum(item.generating for item in results):.1f} s, loading {sum(item.loading for item in results):.1f} s "
          f"({workers} workers, {seconds:.1f} s in all, with the start of the ranks)")  # fmt: skip
    print(f"{states} states judged by {trees} loads: {trees * workers / work:.0f} loads/s, "
          f"{states * workers / work:.0f} states/s, on {workers} cores")  # fmt: skip


if __name__ == "__main__":
    main()
