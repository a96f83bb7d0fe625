"""Bugs in how stream transforms are applied and undone."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from torch.distributed.checkpoint import FileSystemReader
from torch.distributed.checkpoint._extension import ExtensionRegistry
from torch.distributed.checkpoint.filesystem import _StorageReaderTransforms

from tests.mutants.making import torch_storage
from tests.variants._transforms import Writer as InOrderWriter


class _FirstOnlyWriter(InOrderWriter):
    def __init__(self, path: Any, _extensions: Any = ()) -> None:
        super().__init__(path, _extensions=list(_extensions)[:1])


class _Reader(FileSystemReader):
    """Torch's reader with other transforms."""

    undo: Any = _StorageReaderTransforms

    def __init__(self, path: Any, _extension_registry: Any = None) -> None:
        super().__init__(path, _extension_registry=_extension_registry)
        self.transforms = self.undo(_extension_registry)


class _All(_StorageReaderTransforms):
    """Takes what is registered for what was applied."""

    def transform_load_stream(self, read_item: Any, transform_descriptors: Any, raw_stream: Any) -> Any:
        known = [f"{name}/1" for name in self.extension_registry.extensions if name != "stream.zstd"]
        return super().transform_load_stream(read_item, known if transform_descriptors else (), raw_stream)


class _Known(_StorageReaderTransforms):
    """Undoes what it can."""

    def transform_load_stream(self, read_item: Any, transform_descriptors: Any, raw_stream: Any) -> Any:
        names = self.extension_registry.extensions
        known = [item for item in transform_descriptors if item.partition("/")[0] in names]
        return super().transform_load_stream(read_item, known, raw_stream)


class _NotEmpty(_StorageReaderTransforms):
    def __init__(self, extension_registry: ExtensionRegistry | None = None) -> None:
        super().__init__(extension_registry)
        if not self.extension_registry.extensions:
            raise ValueError("the registry is empty")


class _Rewinding(_StorageReaderTransforms):
    """Makes sure that a stream is read from its start."""

    def transform_load_stream(self, *args: Any) -> Any:
        stream = super().transform_load_stream(*args)
        stream.seek(0)
        return stream


class _AllReader(_Reader):
    undo = _All


class _KnownReader(_Reader):
    undo = _Known


class _NotEmptyReader(_Reader):
    undo = _NotEmpty


class _RewindingReader(_Reader):
    undo = _Rewinding


class _Open(io.RawIOBase):
    """Forwards all but the end, so that the file stays open."""

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self._stream = stream

    def write(self, data: Any) -> int:
        return int(self._stream.write(data))


class _OpenWriter(InOrderWriter):
    def __init__(self, path: Any, _extensions: Any = ()) -> None:
        super().__init__(path, _extensions=_extensions)
        self._kept: list[Any] = []
        inner = self.transforms.transform_save_stream

        def transform_save_stream(write_item: Any, raw_stream: Any) -> Any:
            stream, descriptors = inner(write_item, raw_stream)
            self._kept.append(stream)
            return _Open(stream), descriptors

        self.transforms.transform_save_stream = transform_save_stream  # type: ignore[method-assign]


def _mutant(*, breaks: Sequence[str], **parts: Any) -> Any:
    return torch_storage(breaks=breaks, **{"writer": InOrderWriter, **parts}, offers=("extensions",))


applies_the_first_transform_only = _mutant(breaks=["EXT-01"], writer=_FirstOnlyWriter)
undoes_all_that_it_knows = _mutant(breaks=["EXT-02"], reader=_AllReader)
skips_unknown_transforms = _mutant(breaks=["EXT-03"], reader=_KnownReader)
wants_a_registry_that_knows_something = _mutant(breaks=["EXT-04"], reader=_NotEmptyReader)
leaves_transforms_open = _mutant(breaks=["EXT-05"], writer=_OpenWriter)
rewinds_transforms = _mutant(breaks=["EXT-06"], reader=_RewindingReader)
