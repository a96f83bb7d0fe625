"""Checksums of stored entries.

Each entry carries the CRC-32 of its name, its offset in the tensor and its bytes. The CRC is an extra attribute of the
entry in the metadata, which torch keeps and ignores. As name and offset are part of it, entries cannot be swapped.
"""

from __future__ import annotations

import functools
import zlib

from dcp_conformance.reference_impl.errors import CorruptCheckpointError
from dcp_conformance.reference_impl.interchange import MetadataIndex, StorageInfo

_ATTRIBUTE = "checksum"


def seed(index: MetadataIndex) -> int:
    """Return the CRC of what an entry is bound to: its name and its place in the tensor."""
    # Not the hint: it is no part of what an entry is, and readers may ask without one.
    offset = None if index.offset is None else tuple(index.offset)
    return zlib.crc32(f"{index.fqn}\0{offset}".encode("utf-8", "surrogatepass"))


def attach(info: StorageInfo, crc: int) -> StorageInfo:
    """Note the checksum of an entry."""
    setattr(info, _ATTRIBUTE, f"crc32:{crc:08x}")
    return info


def stored(info: StorageInfo) -> int | None:
    """Return the checksum of an entry; None where its writer (torch) noted none, or one of a kind that is not known."""
    text = getattr(info, _ATTRIBUTE, None)
    if not isinstance(text, str) or not text.startswith("crc32:"):
        return None
    try:
        return int(text[6:], 16)
    except ValueError:
        raise CorruptCheckpointError(f"an entry has the unreadable checksum {text!r}") from None


def require(expected: int | None, found: int, what: str) -> None:
    """Raise CorruptCheckpointError where an entry has a checksum and it does not match."""
    if expected is not None and expected != found:
        raise CorruptCheckpointError(
            f"{what} is damaged or belongs to something else: its checksum is {found:08x}, saved was {expected:08x}"
        )


# -- joining checksums -----------------------------------------------------------------------------------------------

_POLYNOMIAL = 0xEDB88320
_ONE = 1 << 31  # the polynomial 1; coefficients are stored lowest power first


def combine(first: int, second: int, second_length: int) -> int:
    """Return the CRC-32 of two pieces of data one after the other, from the CRC of each and the length of the second.

    Appending n bytes multiplies the first CRC by x to the 8 n, modulo the CRC's polynomial over GF(2).
    """
    return _multiply(_shift(second_length), first) ^ second


@functools.lru_cache(maxsize=64)  # the layers of a model have few different sizes
def _shift(length: int) -> int:
    """Return the polynomial x to the power of 8 ``length``, modulo that of CRC-32."""
    shift, power = _ONE, _ONE >> 8
    while length:
        if length & 1:
            shift = _multiply(shift, power)
        power = _multiply(power, power)
        length >>= 1
    return shift


def _multiply(a: int, b: int) -> int:
    product = 0
    bit = _ONE
    while bit:
        if a & bit:
            product ^= b
        b = (b >> 1) ^ (_POLYNOMIAL if b & 1 else 0)
        bit >>= 1
    return product
