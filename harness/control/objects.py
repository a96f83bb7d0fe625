"""How the control pair keeps its objects: whole or not at all, on disk, and checked before they are used."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import re
import uuid
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint import Metadata

_DIGEST = hashlib.sha256().digest_size
_NAME = re.compile(r"commit(-\d+)?|data/[0-9a-f]{32}/\d+-\d+")
_METADATA = "torch.distributed.checkpoint.metadata"
_ALLOWED = {
    (_METADATA, "Metadata"),
    (_METADATA, "StorageMeta"),
    (_METADATA, "MetadataIndex"),
    (_METADATA, "TensorStorageMetadata"),
    (_METADATA, "BytesStorageMetadata"),
    (_METADATA, "ChunkStorageMetadata"),
    (_METADATA, "TensorProperties"),
    (_METADATA, "_MEM_FORMAT_ENCODING"),
    ("torch", "Size"),
    ("torch.serialization", "_get_layout"),
    ("collections", "OrderedDict"),
}


def write_object(root: Path, name: str, content: bytes) -> int:
    """Write an object with its digest so that it is there whole or not at all, also after a power cut."""
    path = root / name
    _make_folder(path.parent)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "wb") as stream:
            stream.write(_digest(name, content))
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)
    return _DIGEST + len(content)


def _make_folder(folder: Path) -> None:
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        _sync_folder(made.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_object(root: Path, name: str) -> bytes:
    """Return what was written under `name`. Raises ValueError for a name that no object has, and for damage."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of an object of a checkpoint")
    content = (root / name).read_bytes()
    digest, data = content[:_DIGEST], content[_DIGEST:]
    if _digest(name, data) != digest:
        raise ValueError(f"{root / name} is damaged: it does not match the digest that was stored with it")
    return data


def _digest(name: str, content: bytes) -> bytes:
    digest = hashlib.sha256(name.encode() + b"\0")
    digest.update(content)
    return digest.digest()


class _MetadataUnpickler(pickle.Unpickler):
    """Makes what metadata is made of, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED or (module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"metadata refers to {module}.{name}, which is not allowed in it")


def unpickled(content: bytes) -> Metadata:
    """Return the Metadata of a commit, read with the allow-list. Raises ValueError where it holds anything else."""
    metadata = _MetadataUnpickler(io.BytesIO(content)).load()
    if not isinstance(metadata, Metadata):
        raise ValueError(f"the commit holds a {type(metadata).__name__}, not the metadata of a checkpoint")
    return metadata


def save_id_of(root: Path, commit: str) -> str | None:
    """Return the save id of the checkpoint that is committed there, or None (nothing there, or unreadable)."""
    try:
        metadata = unpickled(read_object(root, commit))
    except (OSError, ValueError, pickle.UnpicklingError):
        return None  # nothing to replace, or damaged: what it referred to cannot be told and stays
    save_id = metadata.storage_meta.save_id if metadata.storage_meta is not None else None
    # It becomes the name of a folder that is deleted.
    return save_id if isinstance(save_id, str) and re.fullmatch(r"[0-9a-f]{32}", save_id) else None
