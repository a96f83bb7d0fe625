"""Bugs in how a storage pair takes its ids and its calls, and in using it a second time."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from dcp_conformance.harness import control
from tests.mutants.making import storage


class _CachingReader(control.Reader):
    """Reads the metadata once, whatever becomes of the reader."""

    _read: Any = None

    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        if self._read is None:
            self._read = super().read_metadata(*args, **kwargs)
        return self._read


class _SameIdReader(_CachingReader):
    """Reads the metadata of an id once, and again when it is told another id."""

    def reset(self, checkpoint_id: Any = None) -> None:
        if checkpoint_id and Path.cwd() / checkpoint_id != self._root:
            self._read = None
        super().reset(checkpoint_id)


class _MakingWriter(control.Writer):
    """Finds out whether a folder can be made by making it."""

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        try:
            os.makedirs(checkpoint_id, exist_ok=True)
        except (OSError, ValueError):
            return False
        return True


class _RaisingReader(control.Reader):
    """Raises for ids that no path can be, instead of a plain no."""

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        if "\0" in os.fspath(checkpoint_id):
            raise ValueError("embedded null byte")
        return True


class _ReplacingWriter(control.Writer):
    """Takes a file in the way for the rest of an earlier try."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        if self._root.is_file():
            self._root.unlink()
        super().set_up_storage_writer(is_coordinator, *args, **kwargs)


class _MakingReader(control.Reader):
    """Shares its constructor's habits with a writer."""

    def __init__(self, checkpoint_id: Any) -> None:
        super().__init__(checkpoint_id)
        self._root.mkdir(parents=True, exist_ok=True)


class _VagueReader(control.Reader):
    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().read_metadata(*args, **kwargs)
        except FileNotFoundError:
            raise RuntimeError("no checkpoint found") from None


class _OneFolderWriter(control.Writer):
    def prepare_local_plan(self, plan: Any) -> Any:
        if not self._root.exists():
            self._root.mkdir()
        return super().prepare_local_plan(plan)


class _RankedWriter(control.Writer):
    """Takes for granted that every engine tells the rank."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        self._number = kwargs["rank"]
        super().set_up_storage_writer(is_coordinator, *args, **kwargs)


class _UrlWriter(control.Writer):
    """Unquotes every id, as if all of them were URLs."""

    def __init__(self, checkpoint_id: Any) -> None:
        super().__init__(unquote(os.fspath(checkpoint_id)))

    def reset(self, checkpoint_id: Any = None) -> None:
        super().reset(unquote(os.fspath(checkpoint_id)) if checkpoint_id else None)


class _HomeReader(control.Reader):
    """Reads from the user's home folder what lies in a folder named `~`."""

    def __init__(self, checkpoint_id: Any) -> None:
        super().__init__(os.path.expanduser(checkpoint_id))


class _RelativeWriter(control.Writer):
    """Resolves its path each time that it is used."""

    def __init__(self, checkpoint_id: Any) -> None:
        super().__init__(checkpoint_id)
        self._root = Path(checkpoint_id)


class _LockedWriter(control.Writer):
    def __init__(self, checkpoint_id: Any) -> None:
        super().__init__(checkpoint_id)
        self._lock = threading.Lock()


class _BusyWriter(control.Writer):
    """Guards against two saves at a time, and does not notice that one has failed."""

    _busy = False

    def write_data(self, plan: Any, planner: Any) -> Any:
        if self._busy:
            raise RuntimeError("a save is still running")
        self._busy = True
        done = super().write_data(plan, planner)
        self._busy = False
        return done


keeps_metadata_over_a_reset = storage(breaks=["API-09"], reader=_CachingReader)
keeps_metadata_of_an_id = storage(breaks=["API-09"], reader=_SameIdReader)
makes_the_folder_to_validate_it = storage(breaks=["API-10"], writer=_MakingWriter)
raises_for_odd_ids = storage(breaks=["API-10"], reader=_RaisingReader)
replaces_a_file_by_a_folder = storage(breaks=["API-20"], writer=_ReplacingWriter)
makes_what_it_looks_for = storage(breaks=["API-21"], reader=_MakingReader)
says_only_not_found = storage(breaks=["LOG-06"], reader=_VagueReader)
makes_one_folder_only = storage(breaks=["API-22"], writer=_OneFolderWriter)
needs_the_rank = storage(breaks=["API-24"], writer=_RankedWriter)
takes_ids_for_urls = storage(breaks=["API-25"], writer=_UrlWriter)
expands_the_home_folder = storage(breaks=["API-25"], reader=_HomeReader)
keeps_relative_paths = storage(breaks=["API-26"], writer=_RelativeWriter)
holds_a_lock = storage(breaks=["API-27"], writer=_LockedWriter)
stays_busy_after_a_failure = storage(breaks=["API-28"], writer=_BusyWriter)
