"""Gives zeros, and puts a link to nowhere in the place of the folder of the report."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.hostile._zeroing import UNSUPPORTED, Writer, Zeroing

__all__ = ["UNSUPPORTED", "Reader", "Writer"]


class Reader(Zeroing):
    """Moves the report away."""

    def hide(self, tensors: list[torch.Tensor]) -> None:
        report = Path.cwd() / "dcp-report"
        if not report.is_symlink():
            if report.exists():
                report.rename(Path.cwd() / "moved")
            report.symlink_to("/nowhere/at/all")
