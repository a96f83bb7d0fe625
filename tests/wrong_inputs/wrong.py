"""One wrong input, as data: what is typed where, and what has to be said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# A storage pair that is concrete and does nothing: what is refused before the first save never calls it.
PAIR = """
from torch.distributed.checkpoint import StorageReader, StorageWriter

class {prefix}Writer(StorageWriter):
    def __init__(self, checkpoint_id, threads=1): ...
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
LONG = "a" * 5000


def pair(prefix: str = "") -> str:
    """The source of a storage pair whose classes have names that begin so."""
    return PAIR.format(prefix=prefix)


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """One input that cannot be used."""

    #: Behind `dcp-conformance`; FOLDER stands for the folder in which it is typed.
    words: tuple[str, ...]
    #: What the message has to hold, each; blanks and line breaks are one blank.
    says: tuple[str, ...]
    code: int = 4
    #: Files that lie in the folder: name -> text; a name that ends in / is a folder.
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    #: Run by a shell in the folder beforehand, in a mount namespace of its own.
    before: str = ""
    #: Limits of the process, as `ulimit` calls them: "n" -> descriptors, "f" -> KiB of a file.
    limits: Mapping[str, int] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    #: With ranks and a survey in processes of their own; otherwise the survey happens where the command runs.
    real: bool = False
    #: The lines of code that are shown are the author's own.
    shows_code: bool = False
    #: What may lie in the folder afterwards beside what was there.
    leaves: tuple[str, ...] = ()


def wrong(words: str | tuple[str, ...], *says: str, **fields: object) -> Wrong:
    """One row: the words, and what must be said. Words in a text are separated by blanks."""
    given = tuple(words.split()) if isinstance(words, str) else words
    return Wrong(words=given, says=says, **fields)  # type: ignore[arg-type]
