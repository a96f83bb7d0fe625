"""The three other ways to run the scenario on ranks, which benchmarks/cluster.py compares with ours."""

from __future__ import annotations

import itertools
import multiprocessing
import os
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch.testing._internal.common_distributed import MultiProcContinuousTest, MultiProcessTestCase

from benchmarks.cluster_scenario import WORLD_SIZE, save_and_reshard

FOLDER_VARIABLE = "DCP_CONFORMANCE_BENCHMARK_FOLDER"
_NUMBERS = itertools.count()


class PerTestProcesses(MultiProcessTestCase):
    """PyTorch's base class with new processes for every test."""

    @property
    def world_size(self) -> int:
        return WORLD_SIZE

    def setUp(self) -> None:
        super().setUp()
        self._spawn_processes()

    def test_scenario(self) -> None:
        store = dist.FileStore(self.file_name, WORLD_SIZE)
        dist.init_process_group("gloo", store=store, rank=self.rank, world_size=WORLD_SIZE)
        save_and_reshard(os.environ[FOLDER_VARIABLE])


class KeptProcesses(MultiProcContinuousTest):
    """PyTorch's base class with processes that are kept for all tests of the class."""

    world_size = WORLD_SIZE

    @classmethod
    def backend_str(cls) -> str:
        return "gloo"

    @classmethod
    def device_type(cls) -> str:
        return "cpu"

    def test_scenario(self) -> None:
        # The folder is that of the process's birth, so every run takes a new one below it.
        save_and_reshard(f"{os.environ[FOLDER_VARIABLE]}/{next(_NUMBERS)}")


class HandWrittenLoop:
    """The least one can write: two processes, a pipe each, no capture, no check of anything."""

    def __init__(self, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Any] = []
        self._processes = []
        for rank in range(WORLD_SIZE):
            ours, theirs = context.Pipe()
            process = context.Process(target=_loop, args=(rank, str(folder / "store"), theirs), daemon=True)
            process.start()
            self._pipes.append(ours)
            self._processes.append(process)

    def run(self, folder: str) -> Sequence[float]:
        """The scenario on all ranks; the sums they loaded."""
        for pipe in self._pipes:
            pipe.send(folder)
        return [pipe.recv() for pipe in self._pipes]

    def close(self) -> None:
        """End the processes."""
        for pipe in self._pipes:
            pipe.send(None)
        for process in self._processes:
            process.join()


def _loop(rank: int, store: str, pipe: Connection) -> None:
    dist.init_process_group("gloo", store=dist.FileStore(store, WORLD_SIZE), rank=rank, world_size=WORLD_SIZE)
    while (folder := pipe.recv()) is not None:
        pipe.send(save_and_reshard(folder))
    dist.destroy_process_group()
