"""Torch's HuggingFace pair without its defects: objects are refused, every tensor is copied, every chunk is kept."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.planner import WriteItemType
from torch.futures import Future

from dcp_conformance.harness import control
from dcp_conformance.harness.backend.record import Backend
from tests.mutants.making import Tap


class _Copying(Tap):
    """A planner whose tensors are dense and share their memory with nobody."""

    def resolve_data(self, item: Any) -> Any:
        return self._inner.resolve_data(item).detach().cpu().contiguous().clone()


class Writer(HuggingFaceStorageWriter):
    """A file holds a name once, so the second chunk of a tensor goes to a further file."""

    def write_data(self, plan: Any, planner: Any) -> Future[list[Any]]:
        objects = [item.index.fqn for item in plan.items if item.type is WriteItemType.BYTE_IO]
        if objects:
            raise ValueError(f"HuggingFace files hold tensors only, and {objects[0]!r} is none")
        results: list[Any] = []
        for number, items in enumerate(_once_each(plan.items)):
            told = dict(plan.storage_data)
            if number:
                told["shard_index"] = told["shard_index"] + 1000 * number
            part = dataclasses.replace(plan, items=items, storage_data=told)
            results += super().write_data(part, _Copying(planner)).wait()
        done: Future[list[Any]] = Future()
        done.set_result(results)
        return done

    def reset(self, checkpoint_id: Any = None) -> None:
        """Keeps what is to be consolidated in a folder below, also under an id that is passed along."""
        super().reset(checkpoint_id)
        if checkpoint_id and self.enable_consolidation:
            self.consolidated_output_path = str(checkpoint_id)
            self.path = self.fs.concat_path(self.path, "sharded")

    def finish(self, metadata: Any, results: Any) -> None:
        """Consolidates tensors of every dtype and of no dimensions."""
        if not (self.save_distributed and self.enable_consolidation):
            super().finish(metadata, results)
            return
        from safetensors.torch import save_file

        wholes = _wholes(Path(self.path), metadata)
        target = Path(str(self.consolidated_output_path))
        mapping = self.fqn_to_index_mapping or dict.fromkeys(wholes, 1)
        last = max(mapping.values())
        places = {key: f"model-{number:05}-of-{last:05}.safetensors" for key, number in mapping.items()}
        for name in set(places.values()):
            save_file({key: wholes[key] for key in wholes if places[key] == name}, target / name)
        size = sum(whole.numel() * whole.element_size() for whole in wholes.values())
        index = {"metadata": {"total_size": size}, "weight_map": places}
        (target / "model.safetensors.index.json").write_text(json.dumps(index))


class Reader(HuggingFaceStorageReader):
    """Counts the elements of every tensor."""

    def read_metadata(self) -> Any:
        metadata = super().read_metadata()
        for key, stored in metadata.state_dict_metadata.items():
            chunks = getattr(stored, "chunks", [])
            if sum(math.prod(chunk.sizes) for chunk in chunks) != math.prod(stored.size):  # type: ignore[union-attr]
                raise ValueError(f"a file with a part of {key!r} is missing in {self.path}")
        return metadata


def _wholes(shards: Path, metadata: Any) -> dict[str, torch.Tensor]:
    from safetensors import safe_open

    found: dict[str, torch.Tensor] = {}
    for path in shards.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            offsets = json.loads(file.metadata()["DCP_SHARDING_INFO"])
            for key in file.keys():  # noqa: SIM118 (the file is no mapping)
                part, stored = file.get_tensor(key), metadata.state_dict_metadata[key]
                whole = found.setdefault(key, torch.empty(stored.size, dtype=part.dtype))
                for dimension, offset in enumerate(offsets[key]["saved_offsets"]):
                    whole = whole.narrow(dimension, offset, part.shape[dimension])
                whole.copy_(part)
    return found


def _once_each(items: list[Any]) -> list[list[Any]]:
    rounds: list[dict[str, Any]] = [{}]
    for item in items:
        free = next((part for part in rounds if item.index.fqn not in part), None)
        if free is None:
            rounds.append(free := {})
        free[item.index.fqn] = item
    return [list(part.values()) for part in rounds]


backend = Backend(
    name="huggingface",
    writer=control.Writer,
    reader=control.Reader,
    unsupported=control.UNSUPPORTED,
    utilities={"HuggingFaceStorageWriter": Writer, "HuggingFaceStorageReader": Reader},
)
