"""Gives zeros, and puts a file in the place of the folder of the report."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.hostile._zeroing import UNSUPPORTED, Writer, Zeroing

__all__ = ["UNSUPPORTED", "Reader", "Writer"]


class Reader(Zeroing):
    """Blocks the report."""

    def hide(self, tensors: list[torch.Tensor]) -> None:
        report = Path.cwd() / "dcp-report"
        if report.is_dir():
            report.rename(Path.cwd() / "moved")
        report.touch()
