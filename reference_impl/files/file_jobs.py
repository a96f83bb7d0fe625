"""Data files to write, and threads that write them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dcp_conformance.reference_impl.files.entry_writer import EntryWriter
from dcp_conformance.reference_impl.files.extensions import StreamTransform
from dcp_conformance.reference_impl.files.local_files import LocalFiles
from dcp_conformance.reference_impl.interchange import SavePlanner, WriteItem, WriteResult
from dcp_conformance.reference_impl.values.dedup import written_bytes


@dataclass(frozen=True)
class FileJob:
    """A file and the items that go into it."""

    name: str
    items: Sequence[WriteItem]


def split(items: Sequence[WriteItem], parts: int) -> list[list[WriteItem]]:
    """Return at most ``parts`` groups of about the same number of bytes; none of them empty."""
    groups: list[list[WriteItem]] = [[] for _ in range(min(parts, len(items)))]
    load = [0] * len(groups)
    # Largest first, each to the emptiest: the simple rule that stays close to the best split.
    for item in sorted(items, key=written_bytes, reverse=True) if len(groups) > 1 else items:
        smallest = load.index(min(load))
        groups[smallest].append(item)
        load[smallest] += written_bytes(item)
    return groups


def run_jobs(
    jobs: Sequence[FileJob],
    files: LocalFiles,
    planner: SavePlanner,
    thread_count: int,
    extensions: Sequence[StreamTransform] = (),
) -> list[WriteResult]:
    """Write all files, in ``thread_count`` threads of which the calling one is the first.

    An error in any thread stops the others at their next item and is raised here, after all of them have ended.
    """
    pool = _Pool(jobs, files, planner, extensions)
    # The caller works too: with one thread there is none to be started, and an interrupt arrives where it works.
    helpers = [threading.Thread(target=pool.work, daemon=True) for _ in range(min(thread_count, len(jobs)) - 1)]
    if helpers:
        _finish_devices()  # helper threads copy on streams of their own, which would not wait for ours
    for helper in helpers:
        helper.start()
    try:
        pool.work()
    except BaseException as error:  # an interrupt between two files
        pool.error = pool.error or error
    for helper in helpers:
        # Before anything is raised: the caller takes its files back, and no thread may still be making new ones.
        helper.join()
    if pool.error is not None:
        raise pool.error
    # In the order of the jobs and not of their ends: a result must not depend on who was faster.
    return [result for job in jobs for result in pool.results[job.name]]


def _finish_devices() -> None:
    """Wait for the devices that hold tensors of this process; asking the others would make them take memory."""
    for index in range(torch.accelerator.device_count()):
        if torch.accelerator.memory_allocated(index):
            torch.accelerator.synchronize(index)


class _Pool:
    def __init__(
        self,
        jobs: Sequence[FileJob],
        files: LocalFiles,
        planner: SavePlanner,
        extensions: Sequence[StreamTransform],
    ) -> None:
        # Reversed, since `pop` takes from the end.
        self._waiting = list(reversed(jobs))
        self._lock = threading.Lock()
        self._files, self._planner, self._extensions = files, planner, extensions
        self.results: dict[str, list[WriteResult]] = {}
        self.error: BaseException | None = None

    def work(self) -> None:
        """Write files until none is left or a thread has failed."""
        while True:
            with self._lock:
                if self.error is not None or not self._waiting:
                    return
                job = self._waiting.pop()
            try:
                self.results[job.name] = self._write(job)
            except BaseException as error:  # KeyboardInterrupt included: run_jobs raises it once all have stopped
                with self._lock:
                    self.error = self.error or error

    def _write(self, job: FileJob) -> list[WriteResult]:
        results: list[WriteResult] = []
        with self._files.create(job.name) as stream:
            writer = EntryWriter(stream, job.name, self._extensions)
            for item in job.items:
                if self.error is not None:
                    raise _Stopped
                results.append(writer.write(item, self._planner))
        return results


class _Stopped(Exception):
    """Ends a file early because another thread has failed."""
