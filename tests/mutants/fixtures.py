"""Bugs in reading what other releases and other implementations wrote."""

from __future__ import annotations

import dataclasses
import gzip
import pickle
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter, HuggingFaceStorageReader
from torch.distributed.checkpoint.metadata import Metadata

from dcp_conformance import reference_impl
from dcp_conformance.reference_impl.files import metadata_records
from dcp_conformance.reference_impl.planners import plan_load
from dcp_conformance.reference_impl.values import read_items
from tests.mutants.making import engine, torch_storage


class _TodaysReader(FileSystemReader):
    """Checks that metadata is complete, by today's measure."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        metadata = super().read_metadata(*args, **kwargs)
        if metadata.version is None or metadata.storage_meta is None:
            raise ValueError("the metadata has no version: this is no checkpoint")
        return metadata


def _load_without_legacy(*args: Any, **kwargs: Any) -> None:
    with mock.patch.object(plan_load, "legacy_sources", lambda *found: {}):
        reference_impl.load(*args, **kwargs)


class _DenseReader(FileSystemReader):
    """Takes the bytes of an entry for its elements, row by row."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        real = torch.load

        def dense(*args: Any, **kwargs: Any) -> Any:
            value = real(*args, **kwargs)
            if not isinstance(value, torch.Tensor):
                return value
            flat = value.new_empty(0).set_(value.untyped_storage(), 0, (value.numel(),), (1,))
            return flat.reshape(value.shape)

        with mock.patch.object(torch, "load", dense):
            return super().read_data(plan, planner)


class _FiveProperties(reference_impl.FileSystemReader):
    """Unpacks five fields, which is how many there were for nine years."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        real = metadata_records._properties

        def five(value: Any, name: str) -> Any:
            dtype, layout, requires_grad, memory_format, pin_memory = value.state
            return real(value, name)

        with mock.patch.object(metadata_records, "_properties", five):
            return super().read_metadata(*args, **kwargs)


class _KnownFieldsReader(reference_impl.FileSystemReader):
    """Metadata of another shape must be of another format."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        metadata = super().read_metadata(*args, **kwargs)
        unknown = vars(metadata).keys() - {field.name for field in dataclasses.fields(Metadata)}
        if unknown:
            raise ValueError(f"the metadata has the unknown fields {sorted(unknown)}")
        return metadata


class _OwnPaths(reference_impl.FileSystemReader):
    """Knows the classes of paths under the name of their module."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        path = Path(self.checkpoint_id) / ".metadata"
        if path.exists() and b"pathlib._local" in path.read_bytes():
            raise ModuleNotFoundError("No module named 'pathlib._local'; 'pathlib' is not a package")
        return super().read_metadata(*args, **kwargs)


def _load_a_part(*args: Any, **kwargs: Any) -> None:
    with mock.patch.object(read_items, "_require_cover", lambda *what: None):
        reference_impl.load(*args, **kwargs)


class _PackingWriter(FileSystemWriter):
    """Metadata of a large model is large, and pickles pack well."""

    def finish(self, metadata: Any, results: Any) -> None:
        super().finish(metadata, results)
        path = Path(self.path) / ".metadata"
        path.write_bytes(gzip.compress(path.read_bytes()))


class _UnpackingReader(FileSystemReader):
    """Reads both forms."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        path = Path(self.path) / ".metadata"
        data = path.read_bytes()
        if not data.startswith(b"\x1f\x8b"):
            return super().read_metadata(*args, **kwargs)
        return pickle.loads(gzip.decompress(data))


class _SigningWriter(FileSystemWriter):
    """Leaves a file that tells its checkpoints from others."""

    def finish(self, metadata: Any, results: Any) -> None:
        super().finish(metadata, results)
        (Path(self.path) / "signature").write_text("ours")


class _SignedReader(FileSystemReader):
    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        if not (Path(self.path) / "signature").exists():
            raise ValueError(f"{self.path} was not written by this package")
        return super().read_metadata(*args, **kwargs)


class _LenientReader(FileSystemReader):
    """A folder without sound metadata holds nothing."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().read_metadata(*args, **kwargs)
        except (AttributeError, ImportError, pickle.UnpicklingError):
            return Metadata({}, None, {})


class _TerseReader(FileSystemReader):
    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().read_metadata()
        except Exception:
            raise ValueError("the checkpoint cannot be loaded") from None


class _OffsetsReader(HuggingFaceStorageReader):
    """Looks for the offsets of shards, which 2.7 did not write."""

    def read_metadata(self) -> Any:
        for path in Path(self.path).glob("*.safetensors"):
            if b"DCP_SHARDING_INFO" not in path.read_bytes():
                raise KeyError(f"DCP_SHARDING_INFO in {path.name}")
        return super().read_metadata()


_TORCH: dict[str, Any] = {"writer": FileSystemWriter, "reader": FileSystemReader, "unsupported": {}}
_REFERENCE: dict[str, Any] = {"writer": reference_impl.FileSystemWriter, "unsupported": {}}

wants_all_of_todays_fields = torch_storage(breaks=["FMT-13"], reader=_TodaysReader)
forgets_the_layout_of_2_3 = engine(breaks=["FMT-13"], load=_load_without_legacy, **_TORCH)
ignores_strides_of_stored_tensors = torch_storage(breaks=["FMT-13", "FMT-16"], reader=_DenseReader)
knows_five_tensor_properties = engine(breaks=["FMT-15"], reader=_FiveProperties, **_REFERENCE)
refuses_fields_that_it_does_not_know = engine(breaks=["FMT-15"], reader=_KnownFieldsReader, **_REFERENCE)
knows_the_paths_of_its_own_python = engine(breaks=["FMT-15"], reader=_OwnPaths, **_REFERENCE)
takes_a_part_for_the_whole = engine(breaks=["FMT-16"], load=_load_a_part, **_TORCH)
packs_its_metadata = torch_storage(breaks=["FMT-17"], writer=_PackingWriter, reader=_UnpackingReader)
reads_what_it_signed = torch_storage(breaks=["FMT-17"], writer=_SigningWriter, reader=_SignedReader)
takes_foreign_metadata_for_empty = torch_storage(breaks=["RMD-04"], reader=_LenientReader)
keeps_the_reason_to_itself = torch_storage(breaks=["FMT-18"], reader=_TerseReader)
wants_offsets_in_every_header = torch_storage(breaks=["HF-07"], utilities={"HuggingFaceStorageReader": _OffsetsReader})
