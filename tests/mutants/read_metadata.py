"""Bugs in how metadata is read: errors hidden, the wrong metadata taken, more done than reading."""

from __future__ import annotations

from typing import Any

from torch.distributed.checkpoint import CheckpointException, FileSystemReader, FileSystemWriter, Metadata

from dcp_conformance import reference_impl
from dcp_conformance.harness import control
from dcp_conformance.harness.faults.proxy import interpose
from tests.mutants.making import engine, storage, torch_storage


def _blaming_load(state_dict: Any, **kwargs: Any) -> None:
    """Tells what went wrong, and says that it was the coordinator."""
    try:
        reference_impl.load(state_dict, **kwargs)
    except CheckpointException as error:
        raise CheckpointException(str(error), {0: next(iter(error.failures.values()))}) from error


def _bare_load(state_dict: Any, **kwargs: Any) -> None:
    """Unwraps errors, because they read better so."""
    try:
        reference_impl.load(state_dict, **kwargs)
    except CheckpointException as error:
        raise next(iter(error.failures.values()))[0] from None


def _lone_load(state_dict: Any, *, storage_reader: Any = None, no_dist: bool = False, **kwargs: Any) -> None:
    """Saves collectives: each rank reads for itself."""
    kwargs.pop("process_group", None)
    reference_impl.load(state_dict, storage_reader=storage_reader, no_dist=True, **kwargs)


class _Fallback:
    """A tap that tries the metadata of rank 0 whatever was wrong with the global one."""

    def call(self, method: str, inner: Any, args: Any, kwargs: Any) -> Any:
        try:
            return inner(*args, **kwargs)
        except Exception:  # the bug
            return inner(*args, **{**kwargs, "rank": 0})


def _fallback_load(state_dict: Any, *, storage_reader: Any = None, **kwargs: Any) -> None:
    tapped = interpose(storage_reader, ("read_metadata",), _Fallback())
    reference_impl.load(state_dict, storage_reader=tapped, **kwargs)


class _GlobalOnly(control.Reader):
    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        return super().read_metadata()


class _EmptyIfMissing(control.Reader):
    """A folder without a commit is a checkpoint without values."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().read_metadata(*args, **kwargs)
        except FileNotFoundError:
            return Metadata({}, storage_data={})


class _Versioned(FileSystemReader):
    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        metadata = super().read_metadata(*args, **kwargs)
        if not getattr(metadata, "version", None):
            raise ValueError("the metadata has no version")
        return metadata


class _KeepsOthers(control.Writer):
    """Commits beside what was committed in the other mode of saving."""

    def _replaces(self, commit: str) -> list[str]:
        return [commit]


class _Marking(control.Reader):
    """Writes down when a checkpoint was last used, for the job that cleans up."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        metadata = super().read_metadata(*args, **kwargs)
        with open(self._root / "last-used", "a", encoding="utf-8") as stream:
            stream.write("now\n")
        return metadata


blames_the_coordinator = engine(breaks=["RMD-01"], load=_blaming_load)
raises_bare_errors = engine(breaks=["RMD-02"], load=_bare_load)
knows_no_rank_local_metadata = storage(breaks=["RMD-03"], reader=_GlobalOnly)
takes_missing_for_empty = storage(breaks=["RMD-04"], reader=_EmptyIfMissing)
wants_a_version = torch_storage(breaks=["RMD-05"], reader=_Versioned)
lets_each_rank_decide = engine(breaks=["RMD-06"], load=_lone_load)
keeps_metadata_of_the_other_mode = storage(breaks=["RMD-07"], writer=_KeepsOthers)
falls_back_on_any_error = engine(
    breaks=["RMD-08"], load=_fallback_load, writer=FileSystemWriter, reader=FileSystemReader, unsupported={}
)  # fmt: skip
marks_the_last_use = storage(breaks=["RMD-09", "RMD-10"], reader=_Marking)
