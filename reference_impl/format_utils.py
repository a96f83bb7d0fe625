"""Between checkpoints and files of torch.save: conversion both ways, and loading such a file into a sharded model."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

import torch

from dcp_conformance.reference_impl.engine.load import load_plainly
from dcp_conformance.reference_impl.engine.save import save
from dcp_conformance.reference_impl.interchange import Metadata, StateDict, TensorProperties, TensorStorageMetadata
from dcp_conformance.reference_impl.planners.plan_load import DefaultLoadPlanner
from dcp_conformance.reference_impl.planners.rebuild_planner import RebuildLoadPlanner
from dcp_conformance.reference_impl.ranks.crew import Crew
from dcp_conformance.reference_impl.storage.filesystem_reader import FileSystemReader
from dcp_conformance.reference_impl.storage.filesystem_writer import FileSystemWriter
from dcp_conformance.reference_impl.storage.torch_file_reader import BroadcastingTorchSaveReader, read_torch_file
from dcp_conformance.reference_impl.values.read_items import whole_chunk
from dcp_conformance.reference_impl.values.shards import is_tensor

__all__ = ["BroadcastingTorchSaveReader", "DynamicMetaLoadPlanner", "dcp_to_torch_save", "torch_save_to_dcp"]


def dcp_to_torch_save(dcp_checkpoint_dir: str | os.PathLike[str], torch_save_path: str | os.PathLike[str]) -> None:
    """Load a whole checkpoint in this process and write it as one torch.save file."""
    state_dict: StateDict = {}
    crew = Crew.form(None, no_dist=True)
    load_plainly(state_dict, FileSystemReader(dcp_checkpoint_dir), crew=crew, planner=RebuildLoadPlanner())
    torch.save(state_dict, torch_save_path)


def torch_save_to_dcp(torch_save_path: str | os.PathLike[str], dcp_checkpoint_dir: str | os.PathLike[str]) -> None:
    """Load a torch.save file in this process and write it as a checkpoint.

    Raises TypeError naming the file where it does not hold a state dict. The file is trusted: unpickling it runs code.
    """
    save(read_torch_file(torch_save_path), storage_writer=FileSystemWriter(dcp_checkpoint_dir), no_dist=True)


class DynamicMetaLoadPlanner(DefaultLoadPlanner):
    """A load planner for files without metadata: it takes the template's word for what they hold. Tensors only."""

    def set_up_planner(
        self, state_dict: StateDict, metadata: Metadata | None = None, is_coordinator: bool = False
    ) -> None:
        """Make metadata from the template. Raises RuntimeError naming a value that is not a tensor."""
        super().set_up_planner(state_dict, metadata, is_coordinator)
        entries: dict[str, Any] = {}
        for name, value in self.state_dict.items():
            if not is_tensor(value):
                raise RuntimeError(f"Non-tensor value identified at {name}; only tensors can be loaded this way")
            chunks = [whole_chunk(value.size())]
            entries[name] = TensorStorageMetadata(TensorProperties(dtype=value.dtype), value.size(), chunks)
        self.metadata = Metadata(entries)


def main(arguments: Sequence[str] | None = None) -> None:
    """Convert as ``python -m ...format_utils MODE SRC DST``. Leaves with an error where there is nothing at SRC."""
    parser = argparse.ArgumentParser(prog="format_utils", description="Convert checkpoints and torch.save files.")
    parser.add_argument("mode", choices=("torch_to_dcp", "dcp_to_torch"))
    parser.add_argument("src", help="what is converted")
    parser.add_argument("dst", help="where the result goes")
    given = parser.parse_args(arguments)
    there, convert = {
        "torch_to_dcp": (os.path.isfile, torch_save_to_dcp),
        "dcp_to_torch": (os.path.isdir, dcp_to_torch_save),
    }[given.mode]
    if not there(given.src):
        parser.error(f"there is nothing to convert at {given.src!r}")
    convert(given.src, given.dst)


if __name__ == "__main__":
    main()
