"""Stream transforms of entries, such as compression, as torch's experimental extensions note them.

A transform is any object with ``transform_to(stream)``, ``transform_from(stream)`` and ``get_descriptor()``. Only
torch's ``stream.zstd`` is known without a registry, and only where a zstandard library is installed.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Sequence
from typing import IO, Any, Protocol


class StreamTransform(Protocol):
    """A transform in both directions."""

    def transform_to(self, output: IO[bytes]) -> IO[bytes]: ...

    def transform_from(self, input: IO[bytes]) -> IO[bytes]: ...

    def get_descriptor(self) -> str: ...


def decoder(descriptors: Sequence[str] | None, registry: Any = None) -> Callable[[bytes | bytearray], bytes] | None:
    """Return the function that undoes the transforms of an entry, or None where it has none.

    Raises ValueError naming a descriptor that nobody knows.
    """
    if not descriptors:
        return None
    # The caller's registry alone: it may give a known name another meaning.
    if registry is not None:
        transforms = list(registry.from_descriptor_list(descriptors))
        return lambda data: _through(transforms, data)
    for descriptor in descriptors:
        if descriptor.split("/")[0] != "stream.zstd":
            raise ValueError(f"the entry was stored with the unknown transform {descriptor!r}")
    return _zstd_decoder(len(descriptors))


def _through(transforms: list[StreamTransform], data: bytes | bytearray) -> bytes:
    stream: IO[bytes] = io.BytesIO(data)
    for transform in transforms:
        stream = transform.transform_from(stream)
    return stream.read()


def _zstd_decoder(times: int) -> Callable[[bytes | bytearray], bytes]:
    try:
        decompress = importlib.import_module("compression.zstd").decompress  # Python 3.14 and later
    except ImportError:
        try:
            library = importlib.import_module("zstandard")
        except ImportError:
            raise ValueError("the entry has the transform 'stream.zstd', and zstandard is not installed") from None

        def decompress(data: bytes | bytearray) -> bytes:
            # As a stream: `decompress` needs the size in the header, which a streaming writer does not know.
            with library.ZstdDecompressor().stream_reader(io.BytesIO(data)) as reader:
                return bytes(reader.read())

    def decode(data: bytes | bytearray) -> bytes:
        for _ in range(times):
            data = decompress(data)
        return bytes(data)

    return decode
