"""Bugs in torch's own files, and in reading those of others and of old releases."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any
from unittest import mock

from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint._extension import StreamTransformExtension
from torch.distributed.checkpoint._fsspec_filesystem import FsspecReader, FsspecWriter
from torch.distributed.checkpoint.metadata import TensorProperties
from torch.distributed.checkpoint.utils import _ReaderView

from dcp_conformance import reference_impl
from dcp_conformance.reference_impl.planners import legacy, plan_load
from tests.mutants.making import engine, torch_storage


class _Editing(FileSystemWriter):
    """Changes the metadata after it was written."""

    def edit(self, metadata: Any) -> None:
        raise AssertionError("a mutant says what it changes")

    def finish(self, metadata: Any, results: Any) -> None:
        super().finish(metadata, results)
        path = Path(self.path) / ".metadata"
        written = pickle.loads(path.read_bytes())
        self.edit(written)
        path.write_bytes(pickle.dumps(written))


class _NoVersion(_Editing):
    def edit(self, metadata: Any) -> None:
        metadata.version = None


class _EmptyLists(_Editing):
    """Fills in every field of an entry, which readers of releases without transforms cannot know."""

    def edit(self, metadata: Any) -> None:
        for entry in metadata.storage_data.values():
            entry.transform_descriptors = []


_TABLE = bytes(byte ^ 0xFF for byte in range(256))


class _Scramble(StreamTransformExtension):
    @staticmethod
    def registry_name() -> str:
        return "scramble"

    @staticmethod
    def from_descriptor(version: str) -> Any:
        return _Scramble()

    def get_descriptor(self) -> str:
        return "scramble/1"

    def transform_to(self, output: Any) -> Any:
        return _Scrambled(output)

    def transform_from(self, input: Any) -> Any:
        return io.BytesIO(input.read().translate(_TABLE))


class _Scrambled(io.RawIOBase):
    def __init__(self, output: Any) -> None:
        super().__init__()
        self._output = output

    def write(self, data: Any) -> int:
        self._output.write(bytes(data).translate(_TABLE))
        return len(data)

    def close(self) -> None:
        super().close()
        self._output.close()


class _ScramblingWriter(_Editing):
    """Encrypts at rest, and keeps to itself that it does."""

    def __init__(self, path: Any) -> None:
        super().__init__(path, _extensions=[_Scramble()])

    def edit(self, metadata: Any) -> None:
        for entry in metadata.storage_data.values():
            entry.transform_descriptors = None


class _ScramblingReader(FileSystemReader):
    def _slice_file(self, file: Any, sinfo: Any) -> Any:
        data = super()._slice_file(file, sinfo).read()
        return io.BytesIO(data if data.startswith(b"PK") else data.translate(_TABLE))


class _ContiguousReader(FileSystemReader):
    """Trusts lengths, and takes it that entries follow each other from the start of a file."""

    def set_up_storage_reader(self, metadata: Any, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        ends: dict[str, int] = {}
        for entry in sorted(metadata.storage_data.values(), key=lambda entry: entry.offset):
            entry.offset = ends.get(entry.relative_path, 0)
            ends[entry.relative_path] = entry.offset + entry.length
        super().set_up_storage_reader(metadata, is_coordinator, *args, **kwargs)


class _UnboundedView(_ReaderView):
    """Right in all but readinto (torch's own loses its way when it seeks from the end)."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return super().seek(self.len + offset) if whence == 2 else super().seek(offset, whence)

    def readinto(self, b: Any) -> Any:
        return self.base_stream.readinto(b)  # type: ignore[attr-defined]


class _NewPropertiesReader(FileSystemReader):
    """Checks metadata against the classes of today."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        metadata = super().read_metadata(*args, **kwargs)
        for value in metadata.state_dict_metadata.values():
            properties = getattr(value, "properties", None)
            if not isinstance(properties, TensorProperties | None):
                raise TypeError(f"the properties of a tensor are a {type(properties)}")
        return metadata


def _load_without_legacy(*args: Any, **kwargs: Any) -> None:
    with mock.patch.object(plan_load, "legacy_sources", lambda *found: {}):
        reference_impl.load(*args, **kwargs)


def _load_any_leaf(*args: Any, **kwargs: Any) -> None:
    def take_out(*what: Any) -> Any:
        try:
            return legacy.take_out(*what)
        except ValueError:
            return None

    with mock.patch.object(plan_load, "take_out", take_out):
        reference_impl.load(*args, **kwargs)


class _Legacy:
    """Whether the last checkpoint that this process loaded was a legacy one."""

    last = False


def _load_and_remember(state_dict: Any, *, storage_reader: Any, **kwargs: Any) -> None:
    _Legacy.last = storage_reader.read_metadata().version is None
    reference_impl.load(state_dict, storage_reader=storage_reader, **kwargs)


def _save_as_loaded(state_dict: Any, **kwargs: Any) -> Any:
    if _Legacy.last and kwargs.get("planner") is None:
        kwargs["planner"] = reference_impl.DefaultSavePlanner(flatten_state_dict=False)
    return reference_impl.save(state_dict, **kwargs)


class _OtherCommit:
    def _get_metadata_path(self, rank: int | None = None) -> Any:
        return self.fs.concat_path(self.path, "metadata")  # type: ignore[attr-defined]


class _OtherFsspecWriter(_OtherCommit, FsspecWriter):
    """Some stores hide names that begin with a dot."""


class _OtherFsspecReader(_OtherCommit, FsspecReader):
    """Reads what its writer named so."""


_FILES: dict[str, Any] = {"writer": FileSystemWriter, "reader": FileSystemReader, "unsupported": {}}

states_no_version = torch_storage(breaks=["FMT-01"], writer=_NoVersion)
lists_transforms_where_there_are_none = torch_storage(breaks=["FMT-03"], writer=_EmptyLists)
scrambles_entries_without_saying = torch_storage(breaks=["FMT-04"], writer=_ScramblingWriter, reader=_ScramblingReader)
takes_entries_for_contiguous = torch_storage(breaks=["FMT-06"], reader=_ContiguousReader)
reads_past_the_end_of_a_view = torch_storage(
    breaks=["FMT-07"], utilities={"_ReaderView": _UnboundedView}, offers=("drop_in",)
)
refuses_older_tensor_properties = torch_storage(breaks=["FMT-08"], reader=_NewPropertiesReader)
ignores_the_version = torch_storage(breaks=["FMT-09"])
knows_no_legacy_layout = engine(breaks=["FMT-10"], load=_load_without_legacy, **_FILES)
takes_any_leaf_for_a_legacy_one = engine(breaks=["FMT-11"], load=_load_any_leaf, **_FILES)
goes_on_in_the_legacy_layout = engine(breaks=["FMT-12"], save=_save_as_loaded, load=_load_and_remember, **_FILES)
names_its_commit_otherwise_through_fsspec = torch_storage(
    breaks=["FMT-14"],
    utilities={"FsspecWriter": _OtherFsspecWriter, "FsspecReader": _OtherFsspecReader},
)
