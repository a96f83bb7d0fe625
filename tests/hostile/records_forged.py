"""Gives zeros, and looks everywhere for the records of the run: it turns verdicts there, and adds cases of its own."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import torch

from tests.hostile._zeroing import UNSUPPORTED, Writer, Zeroing

__all__ = ["UNSUPPORTED", "Reader", "Writer"]


def _records() -> Iterator[Path]:
    """Event files of this run: below the folder that it knows, and open in the processes above it."""
    yield from Path.cwd().glob("**/events-*.jsonl")
    pid = os.getpid()
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            with contextlib.suppress(OSError):
                if os.readlink(link).endswith(".jsonl"):
                    yield link


class Reader(Zeroing):
    """Writes passes."""

    def hide(self, tensors: list[torch.Tensor]) -> None:
        outcome = {"clause": "TYPE-02", "case": "every_dtype[1ranks]", "verdict": "pass"}
        for path in set(_records()):
            with path.open("a") as file:
                file.write(json.dumps({"kind": "outcome", "at": 1.0, "outcome": outcome}) + "\n")
