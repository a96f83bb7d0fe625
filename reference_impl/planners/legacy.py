"""Checkpoints from before torch 2.4, in which a mapping or list without tensors is one object.

A template that is flattened further than such a checkpoint misses keys. Where the checkpoint has an object under the
name of a container that holds the missing keys, that object is read, and each missing value is taken out of it. An
object that is not a container with those keys is an error, so an ordinary leaf is never mistaken for a legacy one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from dcp_conformance.reference_impl.interchange import BytesStorageMetadata, Metadata
from dcp_conformance.reference_impl.values.flatten import Path, child_key
from dcp_conformance.reference_impl.values.stateful_tree import is_stateful


def legacy_sources(missing: Iterable[str], paths: Mapping[str, Path], metadata: Metadata) -> dict[str, list[str]]:
    """For stored objects that may hold missing keys: name of the object -> the keys to take out of it."""
    sources: dict[str, list[str]] = {}
    for name in missing:
        path = paths.get(name, ())
        # The longest prefix first: the innermost container is the one that was stored.
        for length in range(len(path) - 1, 0, -1):
            prefix = ".".join(map(str, path[:length]))
            if isinstance(metadata.state_dict_metadata.get(prefix), BytesStorageMetadata):
                # Gathered by object, which is then read once for all keys that it holds.
                sources.setdefault(prefix, []).append(name)
                break
    return sources


def take_out(blob: Any, prefix: str, name: str, path: Path) -> Any:
    """Return the value called ``name`` out of the object stored as ``prefix``.

    Raises ValueError where it is not in there.
    """
    value = blob
    for part in path[len(_prefix_path(prefix, path)) :]:
        # Old checkpoints pickled whole objects, whose state the template asks for by key.
        if is_stateful(value) and not isinstance(value, (Mapping, torch.Tensor)):
            value = value.state_dict()
        if not isinstance(value, (Mapping, list)):
            raise ValueError(f"{name!r} is not in the checkpoint: {prefix!r} is stored as one {type(blob).__name__}")
        key = child_key(value, part)
        if (isinstance(value, Mapping) and key not in value) or (isinstance(value, list) and not key < len(value)):
            raise ValueError(f"{name!r} is not in the checkpoint: the object stored as {prefix!r} lacks {part!r}")
        value = value[key]
    return value


def _prefix_path(prefix: str, path: Path) -> Path:
    return next(path[:n] for n in range(1, len(path)) if ".".join(map(str, path[:n])) == prefix)
