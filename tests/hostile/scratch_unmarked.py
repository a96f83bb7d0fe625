"""Gives zeros, and deletes what the folder of the run is known by, and all rights to it."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from dcp_conformance.harness.scratch import run_folder_of
from tests.hostile._zeroing import UNSUPPORTED, Writer, Zeroing

__all__ = ["UNSUPPORTED", "Reader", "Writer"]


class Reader(Zeroing):
    """Takes marks and rights away."""

    def hide(self, tensors: list[torch.Tensor]) -> None:
        folder = run_folder_of(Path(self._root))
        if folder is not None:
            (folder / ".dcp-conformance-run").unlink()
            os.chmod(Path(self._root).parent, 0)
