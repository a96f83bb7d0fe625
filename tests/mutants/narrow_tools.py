"""Bugs of staging and of utilities that show only for some layouts, views, keys, files or mappings."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any
from unittest import mock

import torch
from torch.distributed._shard.sharded_tensor import ShardedTensor
from torch.distributed.checkpoint import hf_storage
from torch.distributed.tensor import DTensor

from dcp_conformance import reference_impl
from dcp_conformance.reference_impl import DefaultStager, StagingOptions, format_utils
from tests.mutants.making import engine, torch_storage
from tests.variants.huggingface import Reader, Writer


class _FirstShardStager(DefaultStager):
    """Asks the first shard of this rank for the dtype of them all."""

    def stage(self, state_dict: Any, **options: Any) -> Any:
        for value in state_dict.values():
            if isinstance(value, ShardedTensor):
                assert value.local_shards()[0].tensor.dtype == value.dtype
        return super().stage(state_dict, **options)


class _ViewStager(DefaultStager):
    """Copies what owns its memory: a view is but another name of something that is copied already."""

    def stage(self, state_dict: Any, **options: Any) -> Any:
        staged: Any = super().stage(state_dict, **options)
        for key, value in state_dict.items():
            if isinstance(value, torch.Tensor) and not isinstance(value, ShardedTensor | DTensor):
                staged[key] = value if value._is_view() else staged[key]
        return staged


class _BytesStager(DefaultStager):
    """Copies the memory of a tensor, whatever is still to be done to it lazily."""

    def stage(self, state_dict: Any, **options: Any) -> Any:
        staged: Any = super().stage(state_dict, **options)
        lazy = {key: value for key, value in state_dict.items() if isinstance(value, torch.Tensor) and value.is_neg()}
        return {**staged, **{key: torch._neg_view(value).clone() for key, value in lazy.items()}}


def _staging(stager: Any, *, breaks: Sequence[str]) -> Any:
    @functools.wraps(reference_impl.async_save)
    def async_save(state_dict: Any, **kwargs: Any) -> Any:
        own = stager(StagingOptions(False, False, False, False))
        given = kwargs.pop("async_stager", None)
        return reference_impl.async_save(state_dict, async_stager=given or own, **kwargs)

    tools = {"DefaultStager": stager, "StagingOptions": StagingOptions}
    return engine(breaks=breaks, async_save=async_save, utilities=tools)


def _with_lists(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_lists(item) for item in value]
    if not isinstance(value, dict):
        return value
    inner = {key: _with_lists(item) for key, item in value.items()}
    return list(inner.values()) if list(inner) == [str(place) for place in range(len(inner))] else inner


def _digits_to_lists(checkpoint_id: Any, path: Any) -> None:
    """Takes keys that count from 0 for the places of a list."""
    format_utils.dcp_to_torch_save(checkpoint_id, path)
    torch.save(_with_lists(torch.load(path, weights_only=False)), path)


def _mapped(path: Any, checkpoint_id: Any) -> None:
    """Maps the file, as can be done with those that are zip archives."""
    torch.load(path, map_location="cpu", weights_only=False, mmap=True)
    format_utils.torch_save_to_dcp(path, checkpoint_id)


class _FilledWriter(Writer):
    """Counts the files into which it writes, not those of the mapping."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        named, mapping = hf_storage._gen_file_name, self.fqn_to_index_mapping or {}
        filled = {mapping.get(item.index.fqn, 1) for item in plan.items}

        def name(index: int, highest: int, shard: int | None = None) -> str:
            return named(index, len(filled), shard)

        with mock.patch.object(hf_storage, "_gen_file_name", name):
            return super().write_data(plan, planner)


class _RowsReader(Reader):
    """Adds up rows, and takes the first shard's width for that of the tensor."""

    def read_metadata(self) -> Any:
        metadata = hf_storage.HuggingFaceStorageReader.read_metadata(self)
        for entry in metadata.state_dict_metadata.values():
            first = min(entry.chunks, key=lambda chunk: tuple(chunk.offsets))  # type: ignore[union-attr]
            entry.size = torch.Size([*entry.size[:1], *first.sizes[1:]])  # type: ignore[union-attr]
        return metadata


def _files(*, breaks: Sequence[str], writer: Any = Writer, reader: Any = Reader) -> Any:
    return torch_storage(
        breaks=breaks, utilities={"HuggingFaceStorageWriter": writer, "HuggingFaceStorageReader": reader}
    )


stages_by_the_first_shard = _staging(_FirstShardStager, breaks=["ASYNC-17"])
takes_views_for_copies = _staging(_ViewStager, breaks=["ASYNC-02"])
stages_bytes_without_their_sign = _staging(_BytesStager, breaks=["ASYNC-27"])
turns_digit_keys_into_lists = torch_storage(
    breaks=["UTIL-07"],
    utilities={"dcp_to_torch_save": _digits_to_lists, "torch_save_to_dcp": format_utils.torch_save_to_dcp},
)
maps_files_to_convert_them = torch_storage(breaks=["UTIL-02"], utilities={"torch_save_to_dcp": _mapped})
counts_the_files_that_it_fills = _files(breaks=["HF-01"], writer=_FilledWriter)
rebuilds_rows_only = _files(breaks=["HF-06"], reader=_RowsReader)
