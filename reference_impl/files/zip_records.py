"""Where the records of a torch.save file lie: a zip file whose records are stored as they are, one after the other.

Stricter than zip readers are: the file has to start at its first record and end with its directory, nothing is
compressed, and what the directory says of a record has to agree with what stands before the record. So bytes that were
damaged, or that belong to another entry, do not pass for an archive, and none grows when it is read.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dcp_conformance.reference_impl.errors import CorruptCheckpointError

#: Gives ``length`` bytes at ``offset`` of the archive.
Read = Callable[[int, int], bytes | bytearray | memoryview]

_LOCAL = struct.Struct("<4s22xHH")
_CENTRAL = struct.Struct("<4s4xHH4xIIIHHHHHII")
_END = struct.Struct("<4s6xHIIH")
_END_64 = struct.Struct("<4s28xQQQ")
_LOCATOR_64 = struct.Struct("<4s4xQ4x")

FIRST_BYTES = b"PK\x03\x04"
_FULL_16, _FULL_32 = 0xFFFF, 0xFFFFFFFF


@dataclass(frozen=True)
class ZipRecord:
    """One record: its bytes are ``length`` many from ``start``, counted from the start of the archive."""

    start: int
    length: int
    #: CRC-32 of the bytes; 0 where torch.save was told to compute none.
    crc: int


def is_archive(read: Read, length: int) -> bool:
    """Tell whether bytes begin and end as an archive of torch.save does."""
    if length < _END.size:
        return False
    return bytes(read(0, 4)) == FIRST_BYTES and bytes(read(length - _END.size, 4)) == b"PK\x05\x06"


def find_records(read: Read, length: int) -> Mapping[str, ZipRecord]:
    """Return the records of an archive by name, without the folder that torch.save puts before it.

    Raises CorruptCheckpointError for an archive that torch.save would not write.
    """
    try:
        return _find_records(read, length)
    except (struct.error, UnicodeDecodeError) as error:
        raise CorruptCheckpointError(f"its archive is damaged ({error})") from error


def _find_records(read: Read, length: int) -> Mapping[str, ZipRecord]:
    count, size, start = _directory(read, length)
    if start + size > length:
        raise CorruptCheckpointError("its archive's directory lies outside of it")
    directory = memoryview(read(start, size))
    records: dict[str, ZipRecord] = {}
    place = following = 0
    for _ in range(count):
        mark, flags, method, crc, stored, plain, names, extras, comments, *_, header = _CENTRAL.unpack_from(
            directory, place
        )
        after = place + _CENTRAL.size + names
        full_name = bytes(directory[place + _CENTRAL.size : after])
        plain, stored, header = _wide(plain, stored, header, directory[after : after + extras])
        # Nothing compressed: 128 MiB of zeros fit into 128 KiB, and a reader would have to believe the size.
        if mark != b"PK\x01\x02" or method or flags & 1 or stored != plain:
            raise CorruptCheckpointError("its archive holds a compressed or encrypted record, or is damaged")
        # In order and without overlap: two names for the same bytes are no archive of torch.save's.
        if header < following or (not records and header):
            raise CorruptCheckpointError("its archive does not start where the entry starts, or is damaged")
        begin = _begin(read, header, full_name)
        following = begin + plain
        if following > start:
            raise CorruptCheckpointError("a record lies outside of its archive")
        records[full_name.decode().split("/", 1)[-1]] = ZipRecord(begin, plain, crc)
        place = after + extras + comments
    if place != size:
        raise CorruptCheckpointError("its archive's directory is damaged")
    return records


def _directory(read: Read, length: int) -> tuple[int, int, int]:
    """Number of records, length and start of the directory, which is followed by nothing but the end of the archive."""
    end = length - _END.size
    mark, count, size, start, comment = _END.unpack(read(end, _END.size))
    if mark != b"PK\x05\x06" or comment:
        raise CorruptCheckpointError("its archive has no end")
    # The plain end suffices; all ones say that the numbers stand in the zip64 end before it.
    if start + size == end and count != _FULL_16:
        return count, size, start
    mark, end_64 = _LOCATOR_64.unpack(read(end - _LOCATOR_64.size, _LOCATOR_64.size))
    if mark != b"PK\x06\x07" or end_64 != end - _LOCATOR_64.size - _END_64.size:
        raise CorruptCheckpointError("its archive does not start where the entry starts, or is damaged")
    mark, count, size, start = _END_64.unpack(read(end_64, _END_64.size))
    if mark != b"PK\x06\x06" or start + size != end_64:
        raise CorruptCheckpointError("its archive does not start where the entry starts, or is damaged")
    return count, size, start


def _wide(plain: int, stored: int, header: int, extra: memoryview) -> tuple[int, int, int]:
    """Sizes and place of a record, from the zip64 field where they do not fit into 32 bits."""
    if _FULL_32 not in (plain, stored, header):
        return plain, stored, header
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        if kind == 1:
            numbers = iter(struct.unpack_from(f"<{min(size, 24) // 8}Q", extra, 4))
            wide = [next(numbers, value) if value == _FULL_32 else value for value in (plain, stored, header)]
            return wide[0], wide[1], wide[2]
        extra = extra[4 + size :]
    raise CorruptCheckpointError("its archive is damaged: a size is missing")


def _begin(read: Read, header: int, name: bytes) -> int:
    """Return where the bytes of a record begin, behind the header that stands before them."""
    mark, names, extras = _LOCAL.unpack(read(header, _LOCAL.size))
    # The name stands twice; where the two disagree, the directory belongs to other bytes.
    if mark != FIRST_BYTES or bytes(read(header + _LOCAL.size, names)) != name:
        raise CorruptCheckpointError("its archive is damaged: a record and the directory disagree")
    return header + _LOCAL.size + names + extras  # type: ignore[no-any-return]
