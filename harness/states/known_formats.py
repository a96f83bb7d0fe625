"""Bytes of any size that a reader which guesses by the first bytes takes for a file of a known format.

Where the size allows it they *are* such a file, so that a guess does not end in an error that puts it right: of deflate
in stored blocks, of zstd in one raw block (RFC 1950, 1952, 8878), of pickle with bytes after its end.
"""

from __future__ import annotations

import zlib

_ZIP = b"PK\x03\x04\x14\x00\x80\x04\x95\x1f\x8b\x08"
_PICKLE = b"\x80\x02X\x01\x00\x00\x00a."
# Magic number, then: one segment, whose size is one byte.
_ZSTD = b"\x28\xb5\x2f\xfd\x20"
_BLOCK_HEADER, _LARGEST_ZSTD = 3, 255
# For zlib.compressobj: how the stream is wrapped.
_ZLIB, _GZIP = 15, 31


def known_format(kind: str, size: int) -> bytes:
    """`size` bytes of a kind of harness.states.model.FORMATS."""
    beginning = {"archive": _ZIP, "pickle": _PICKLE, "zlib": b"\x78\x9c", "gzip": b"\x1f\x8b\x08", "zstd": _ZSTD[:4]}[
        kind
    ]
    whole = {"zlib": _zlib, "gzip": _gzip, "zstd": _zstd}.get(kind, lambda _size: b"")(size)
    return whole if len(whole) == size else (beginning * (size // len(beginning) + 1))[:size]


def _zlib(size: int) -> bytes:
    # The second byte only says how hard the compressor tried; 9c is the one that readers look for.
    stream = _stored(size, _ZLIB)
    return b"\x78\x9c" + stream[2:]


def _gzip(size: int) -> bytes:
    return _stored(size, _GZIP)


def _stored(size: int, wrapped: int) -> bytes:
    """A stream of deflate without compression, of `size` bytes where there is one so short."""
    held, stream = size, b""
    while held > 0 and len(stream) != size:
        held -= max(1, len(stream) - size)
        made = zlib.compressobj(0, zlib.DEFLATED, wrapped)
        stream = made.compress(b"\x07" * max(0, held)) + made.flush()
    return stream


def _zstd(size: int) -> bytes:
    held = size - len(_ZSTD) - 1 - _BLOCK_HEADER
    if not 0 < held <= _LARGEST_ZSTD:
        return b""
    last_and_raw = (held << 3 | 1).to_bytes(_BLOCK_HEADER, "little")
    return _ZSTD + bytes([held]) + last_and_raw + b"\x07" * held
