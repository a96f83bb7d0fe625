"""What runs on ranks for benchmarks.endurance."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import torch

from dcp_conformance.harness.backend.resolve import resolve
from dcp_conformance.harness.cluster import rank
from dcp_conformance.harness.faults.limits import file_size_limit

LENGTH = 4000


def save(backend: str, path: str, version: int, fault: str, moment: float) -> str:
    """On ranks: save a version, under a fault; how it ended. moment: seconds or share of the bytes at which it hits."""
    here, record = rank.current(), resolve(backend, {}, os.getcwd())
    assert record.writer is not None and record.save is not None
    state = {f"own{here.rank}": torch.full((LENGTH,), version), "common": torch.full((10,), version)}
    if fault == "kill" and here.rank == here.world_size - 1:
        threading.Timer(moment * 0.05, os.kill, (os.getpid(), signal.SIGKILL)).start()
    if fault == "raise" and here.rank == 0:
        state["bad"] = Unsaveable()  # type: ignore[assignment]
    try:
        if fault == "full":
            with file_size_limit(int(moment * 8 * LENGTH)):
                record.save(state, storage_writer=record.writer(path))
        else:
            record.save(state, storage_writer=record.writer(path))
    except BaseException as error:  # CheckpointException is no Exception
        return f"raised {type(error).__name__}"
    return "saved"


class Unsaveable:
    """Cannot be pickled."""

    def __reduce__(self) -> Any:
        raise RuntimeError("this cannot be saved")


def load(backend: str, path: str, ranks: int) -> list[int]:
    """On one rank: the versions that a load gives, without doubles; the one that is right has one."""
    record = resolve(backend, {}, os.getcwd())
    assert record.reader is not None and record.load is not None
    state = {f"own{number}": torch.zeros(LENGTH, dtype=torch.int64) for number in range(ranks)}
    state["common"] = torch.zeros(10, dtype=torch.int64)
    record.load(state, storage_reader=record.reader(path))
    return sorted({int(number) for tensor in state.values() for number in set(tensor.tolist())})
