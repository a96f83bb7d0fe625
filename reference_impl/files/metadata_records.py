"""From inert records, as the restricted unpickler makes them, to real metadata; every field is checked on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch

from dcp_conformance.reference_impl.errors import CorruptCheckpointError, UnknownVersionError
from dcp_conformance.reference_impl.interchange import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageInfo,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)
from dcp_conformance.reference_impl.values.boxes import in_bounds

T = TypeVar("T")

_MEMORY_FORMATS = (torch.contiguous_format, torch.channels_last, torch.preserve_format)


class Record:
    """What a pickle says about one object: the arguments it would be made with, and its state."""

    kind = "record"
    args: tuple[Any, ...] = ()
    state: Any = None

    def __init__(self, *args: Any) -> None:
        self.args = args

    def __setstate__(self, state: Any) -> None:
        self.state = state


def metadata_of(value: Any) -> Metadata:
    """Return the metadata that a file describes. Raises CorruptCheckpointError or UnknownVersionError."""
    state = _state(value, "Metadata")
    version = state.get("version")
    # Files up to torch 2.8 have no version. A major version above 1 means a format that did not exist yet.
    if version is not None and (not isinstance(version, str) or version.split(".")[0] != "1"):
        raise UnknownVersionError(f"the metadata has version {version!r}; this package reads versions 1.x")
    entries = _typed(state.get("state_dict_metadata"), dict, "state_dict_metadata")
    stored = state.get("storage_data")
    metadata = Metadata(
        state_dict_metadata={_typed(k, str, "a key"): _entry(k, v) for k, v in entries.items()},
        planner_data=_plain(state.get("planner_data")),
        storage_data=_storage_data(stored),
        storage_meta=_storage_meta(state.get("storage_meta")),
        version=version,
    )
    for name in state.keys() - vars(metadata).keys():  # fields of later releases
        setattr(metadata, _typed(name, str, "a field"), _plain(state[name]))
    return metadata


def _entry(name: str, value: Any) -> TensorStorageMetadata | BytesStorageMetadata:
    if isinstance(value, Record) and value.kind == "BytesStorageMetadata":  # has no fields, and so no state
        return BytesStorageMetadata()
    state = _state(value, "TensorStorageMetadata")
    size = _size(state.get("size"), f"the size of {name!r}")
    chunks = [_chunk(chunk, name) for chunk in _typed(state.get("chunks"), list, f"the chunks of {name!r}")]
    # Checked here, once: later code takes memory by these numbers.
    outside = next((chunk for chunk in chunks if not in_bounds(size, chunk)), None)
    if outside is not None:
        raise CorruptCheckpointError(f"{name!r} of size {tuple(size)} has a chunk out of bounds: {outside}")
    return TensorStorageMetadata(properties=_properties(state.get("properties"), name), size=size, chunks=chunks)


def _chunk(value: Any, name: str) -> ChunkStorageMetadata:
    state = _state(value, "ChunkStorageMetadata")
    return ChunkStorageMetadata(
        offsets=_size(state.get("offsets"), f"a chunk of {name!r}"),
        sizes=_size(state.get("sizes"), f"a chunk of {name!r}"),
    )


def _properties(value: Any, name: str) -> TensorProperties:
    """Return the properties of an entry: torch 1.13 to 2.14 store five fields, 2.15 six.

    Any further ones are ignored.
    """
    if not (isinstance(value, Record) and value.kind == "TensorProperties" and isinstance(value.state, tuple)):
        raise CorruptCheckpointError(f"the properties of {name!r} are not valid")
    if len(value.state) < 5:
        raise CorruptCheckpointError(f"the properties of {name!r} are incomplete")
    dtype, layout, requires_grad, memory_format, pin_memory = value.state[:5]
    properties = TensorProperties(
        dtype=_typed(dtype, torch.dtype, f"the dtype of {name!r}"),
        layout=_layout(layout),
        requires_grad=bool(requires_grad),
        memory_format=_memory_format(memory_format, name),
        pin_memory=bool(pin_memory),
    )
    if len(value.state) > 5 and hasattr(properties, "strides"):
        properties.strides = _plain(value.state[5])
    return properties


def _memory_format(value: Any, name: str) -> torch.memory_format:
    number = value.args[0] if isinstance(value, Record) and len(value.args) == 1 else None
    # `type`, since True is an int and would be a format.
    if type(number) is not int or not 0 <= number < len(_MEMORY_FORMATS):
        raise CorruptCheckpointError(f"the memory format of {name!r} is not valid")
    return _MEMORY_FORMATS[number]


def _layout(value: Any) -> torch.layout:
    name = value.args[0] if isinstance(value, Record) and value.kind == "layout" and value.args else None
    layout = getattr(torch, str(name).removeprefix("torch."), None)
    return _typed(layout, torch.layout, "a layout")


def _storage_data(value: Any) -> Any:
    """Entries of files, keyed by index; whatever else another storage may have put here."""
    if not isinstance(value, dict):
        return _plain(value)
    return {_index(key): _info(entry) for key, entry in value.items()}


def _index(value: Any) -> MetadataIndex:
    state = _state(value, "MetadataIndex")
    offset, hint = state.get("offset"), state.get("index")
    return MetadataIndex(
        _typed(state.get("fqn"), str, "the name of an entry"),
        None if offset is None else _size(offset, "the offset of an entry"),
        None if hint is None else _typed(hint, int, "the hint of an entry"),
    )


def _info(value: Any) -> StorageInfo:
    state = _state(value, "_StorageInfo")
    # Written since torch 2.7, and absent where there is no transform.
    descriptors = state.get("transform_descriptors")
    info = StorageInfo(
        relative_path=_typed(state.get("relative_path"), str, "the file of an entry"),
        offset=_typed(state.get("offset"), int, "the position of an entry"),
        length=_typed(state.get("length"), int, "the length of an entry"),
        transform_descriptors=None if descriptors is None else [str(d) for d in descriptors],
    )
    for name in state.keys() - vars(info).keys():
        setattr(info, _typed(name, str, "a field"), _plain(state[name]))
    return info


def _storage_meta(value: Any) -> StorageMeta | None:
    if value is None:
        return None
    state = _state(value, "StorageMeta")
    known = {name: _plain(state.get(name)) for name in ("checkpoint_id", "save_id", "load_id")}
    return StorageMeta(**known, modules=list(_plain(state.get("modules")) or []))


def _plain(value: Any, known: dict[int, Any] | None = None) -> Any:
    """Data of a planner: containers and plain values, with records of metadata classes turned into the real ones.

    ``known`` has the results for containers that were met before, by their id: one that holds another twice, which
    holds another twice, and so on, is small to store and endless to walk.
    """
    if isinstance(value, Record):
        return _plain_record(value)
    if type(value) not in (dict, list, tuple, set, frozenset):
        return value
    known = {} if known is None else known
    if id(value) not in known:
        if type(value) is dict:
            known[id(value)] = {_plain(key, known): _plain(item, known) for key, item in value.items()}
        else:
            kind: Any = type(value)
            known[id(value)] = kind([_plain(item, known) for item in value])
    return known[id(value)]


def _plain_record(value: Record) -> Any:
    if value.kind == "path":  # text, not a path class: the class depends on the system that wrote it
        return "/".join(str(part) for part in value.args).replace("//", "/", 1)
    if value.kind == "layout":
        return _layout(value)
    if value.kind == "bytearray":
        return bytearray(value.args[0]) if value.args and isinstance(value.args[0], bytes) else bytearray()
    if value.kind == "encode" and len(value.args) == 2 and value.args[1] == "latin1":
        return str(value.args[0]).encode("latin1")
    makers = {
        "MetadataIndex": _index,
        "_StorageInfo": _info,
        "StorageMeta": _storage_meta,
        "ChunkStorageMetadata": lambda v: _chunk(v, "planner data"),
        "TensorProperties": lambda v: _properties(v, "planner data"),
        "TensorStorageMetadata": lambda v: _entry("planner data", v),
        "BytesStorageMetadata": lambda v: _entry("planner data", v),
    }
    if value.kind not in makers:
        raise CorruptCheckpointError(f"the metadata holds a {value.kind} where none belongs")
    maker: Any = makers[value.kind]
    return maker(value)


def _state(value: Any, kind: str) -> Mapping[Any, Any]:
    if not isinstance(value, Record) or value.kind != kind or not isinstance(value.state, dict):
        raise CorruptCheckpointError(f"the metadata is not valid: expected a {kind}, found {_describe(value)}")
    return value.state


def _describe(value: Any) -> str:
    return value.kind if isinstance(value, Record) else type(value).__name__


def _size(value: Any, what: str) -> torch.Size:
    if not isinstance(value, (tuple, list)) or any(type(n) is not int or n < 0 for n in value):
        raise CorruptCheckpointError(f"{what} is not valid in the metadata")
    return torch.Size(value)


def _typed(value: Any, kind: type[T], what: str) -> T:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise CorruptCheckpointError(f"{what} is not valid in the metadata: {_describe(value)}")
    return value
