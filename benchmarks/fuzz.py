"""Damaged checkpoints, by the thousand: `python -m benchmarks.fuzz [--seconds N] [--seed N]`.

Hypothesis edits the files of small checkpoints, which reference_impl and torch have written. Each load by
reference_impl must give the right values, or raise an error that says what is wrong, and take little memory: never a
wrong value, never an error of code that stumbled, never the end of the process.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import hypothesis
import torch
import torch.distributed.checkpoint as dcp
from hypothesis import strategies as st

from dcp_conformance import reference_impl
from dcp_conformance.harness.cluster.exceptions import record
from dcp_conformance.harness.faults.corruption import graded
from dcp_conformance.harness.faults.limits import address_space_limit
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded

MEMORY = 512 << 20  # bytes that a load may map beyond what the process has
LONGEST = 20.0  # seconds of one load
NO_CHECKS = list(hypothesis.HealthCheck)
KINDS = ("flip", "set", "cut", "insert", "remove", "move", "swap")


def state() -> dict[str, Any]:
    """What is saved: tensors, nested objects, text."""
    nested = {"step": 70_001, "note": "a note", "rate": 0.5}
    return {"first": coded(1, (64,), version=1), "second": coded(2, (8, 8), version=1), "nested": nested}


class Fuzz:
    """Checkpoints in a folder, and what came of loading them damaged."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.found, self.problems = folder, Counter[str](), []  # type: ignore[var-annotated]
        dcp.save(state(), storage_writer=dcp.FileSystemWriter(folder / "torch"), no_dist=True)
        reference_impl.save(state(), storage_writer=reference_impl.FileSystemWriter(folder / "own"), no_dist=True)

    def load(self, name: str, edits: list[tuple[str, float, float, int]]) -> None:
        """Load one checkpoint with one file edited."""
        damaged = self.folder / "damaged"
        shutil.rmtree(damaged, ignore_errors=True)
        shutil.copytree(self.folder / name, damaged, symlinks=True)
        files = sorted(path for path in damaged.rglob("*") if path.is_file())
        path = files[int(edits[0][1] * len(files)) % len(files)]
        before = path.read_bytes()
        after = edited(before, edits)
        if after == before:
            return
        path.write_bytes(after)
        self.found[self._ended(damaged, path.name, f"{name}/{path.relative_to(damaged)}: {edits}")] += 1

    def _ended(self, damaged: Path, name: str, what: str) -> str:
        target, error = blank(state()), None
        signal.alarm(int(LONGEST))
        try:
            with address_space_limit(MEMORY):
                reference_impl.load(target, storage_reader=reference_impl.FileSystemReader(damaged), no_dist=True)
        except BaseException as raised:  # CheckpointException is no Exception
            error = record(raised)
        finally:
            signal.alarm(0)
        right = error is None and not differences(state(), target)
        grade = graded(error, right=right, name=name, keys=()).words
        if grade in BAD:
            self.problems.append(f"{grade}: {what}: {error.type_name + ': ' + error.text[:200] if error else ''}")
        return grade


BAD = ("wrong values without an error", "an error that does not say what is wrong")
EDITS = st.lists(
    st.tuples(st.sampled_from(KINDS), st.floats(0, 1), st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=3
)


def edited(data: bytes, edits: list[tuple[str, float, float, int]]) -> bytes:
    """The bytes after some edits. Places are shares of the length, so that all parts of a file are met alike."""
    for kind, first, second, value in edits:
        start, end = sorted((int(first * len(data)), int(second * len(data))))
        part, rest = data[start:end], data[start + 1 :]
        data = {
            "flip": data[:start] + bytes(byte ^ (1 << value % 8) for byte in data[start : start + 1]) + rest,
            "set": data[:start] + bytes([value]) * min(8, len(data) - start) + data[start + 8 :],
            "cut": data[:end],
            "insert": data[:start] + bytes([value]) * (1 + value % 16) + data[start:],
            "remove": data[:start] + data[min(end, start + 16) :],
            "move": data[:start] + data[end:] + part,
            "swap": part + data[:start] + data[end:],
        }[kind]
    return data


def main() -> int:
    """Run for some seconds; 1 where a load was silent, stumbled or took too much."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=900.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began, folder = time.monotonic(), Path(tempfile.mkdtemp(prefix="dcp-fuzz-"))
    try:
        fuzz, rounds = Fuzz(folder), 0
        while time.monotonic() - began < options.seconds and len(fuzz.problems) < 20:
            _round(fuzz, options.seed + rounds, began + options.seconds)
            rounds += 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{fuzz.found.total()} loads in {time.monotonic() - began:.0f} s, seeds from {options.seed}")
    print("\n".join(f"  {count:6} {how}" for how, count in fuzz.found.most_common()))
    print("\n".join(fuzz.problems) or "  nothing was silent, nothing stumbled")
    return int(bool(fuzz.problems))


def _round(fuzz: Fuzz, seed: int, deadline: float) -> None:
    @hypothesis.seed(seed)
    @hypothesis.settings(max_examples=2000, deadline=None, database=None, suppress_health_check=NO_CHECKS)
    @hypothesis.given(st.sampled_from(("own", "torch")), EDITS)
    def damaged(name: str, edits: list[tuple[str, float, float, int]]) -> None:
        if time.monotonic() < deadline:
            fuzz.load(name, edits)

    damaged()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    sys.exit(main())
