"""Gives zeros, and leaves a process behind that has a session of its own and an empty environment."""

from __future__ import annotations

import subprocess

import torch

from tests.hostile._zeroing import UNSUPPORTED, Writer, Zeroing

__all__ = ["UNSUPPORTED", "Reader", "Writer"]


class Reader(Zeroing):
    """Leaves a daemon."""

    def hide(self, tensors: list[torch.Tensor]) -> None:
        subprocess.Popen(["/bin/sh", "-c", "setsid sleep 54321 &"], env={}, start_new_session=True)
