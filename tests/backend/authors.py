"""A backend author's folder: write modules into it, then find them as `--backend=NAME` does."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from dcp_conformance.harness.backend.record import Backend
from dcp_conformance.harness.backend.resolve import resolve
from dcp_conformance.harness.errors import UsageError

# A storage pair that is concrete and does nothing: discovery never calls it.
PAIR = """
from torch.distributed.checkpoint import StorageReader, StorageWriter

class {prefix}Writer(StorageWriter):
    def __init__(self, checkpoint_id, threads=1, sync=True, label="", ratio=0.5):
        self.settings = (checkpoint_id, threads, sync, label, ratio)
    def reset(self, checkpoint_id=None): ...
    def set_up_storage_writer(self, is_coordinator, *args, **kwargs): ...
    def prepare_local_plan(self, plan): return plan
    def prepare_global_plan(self, plans): return plans
    def write_data(self, plan, planner): ...
    def finish(self, metadata, results): ...
    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id): return True

class {prefix}Reader(StorageReader):
    def __init__(self, checkpoint_id): ...
    def reset(self, checkpoint_id=None): ...
    def read_metadata(self, *args, **kwargs): ...
    def set_up_storage_reader(self, metadata, is_coordinator, *args, **kwargs): ...
    def prepare_local_plan(self, plan): return plan
    def prepare_global_plan(self, plans): return plans
    def read_data(self, plan, planner): ...
    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id): return True
"""

_numbers = itertools.count()


def pair(prefix: str = "") -> str:
    return PAIR.format(prefix=prefix)


class Author:
    """Their current folder, and what the harness says about a name typed in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def writes(self, *sources: str, name: str = "", file: str = "{}.py") -> str:
        """Write a module and return its name, which no other test uses."""
        name = name or f"theirs_{next(_numbers)}"
        path = self.folder / file.format(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(sources))
        return name

    def resolves(self, name: str, **options: str) -> Backend:
        return resolve(name, options, str(self.folder))

    def is_refused(self, name: str, **options: str) -> str:
        """Return the message of the refusal, with their folder written as FOLDER."""
        with pytest.raises(UsageError) as caught:
            self.resolves(name, **options)
        return str(caught.value).replace(str(self.folder), "FOLDER")
