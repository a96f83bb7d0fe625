"""Bugs in the HuggingFace pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.distributed.checkpoint import HuggingFaceStorageReader, HuggingFaceStorageWriter

from tests.mutants.making import torch_storage
from tests.variants.huggingface import Reader, Writer


class _NoIndexWriter(Writer):
    """Leaves it to a tool that is run afterwards."""

    def finish(self, metadata: Any, results: Any) -> None:
        """Nothing to commit."""


class _LastShardReader(Reader):
    def read_metadata(self) -> Any:
        metadata = super().read_metadata()
        for value in metadata.state_dict_metadata.values():
            value.size = torch.Size(value.chunks[-1].sizes)
        return metadata


def _mutant(*, breaks: Sequence[str], writer: Any = Writer, reader: Any = Reader) -> Any:
    return torch_storage(
        breaks=breaks, utilities={"HuggingFaceStorageWriter": writer, "HuggingFaceStorageReader": reader}
    )


writes_no_index = _mutant(breaks=["HF-01"], writer=_NoIndexWriter)
has_the_defects_of_torch = _mutant(breaks=["HF-02", "HF-03", "HF-04", "HF-05"], writer=HuggingFaceStorageWriter)
takes_the_last_shard_for_the_whole = _mutant(breaks=["HF-06"], reader=_LastShardReader)
consolidates_as_torch_does = _mutant(breaks=["HF-08"], writer=HuggingFaceStorageWriter)
loads_the_shards_that_it_finds = _mutant(breaks=["HF-09"], reader=HuggingFaceStorageReader)
