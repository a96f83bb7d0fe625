"""The bytes of one stored entry: read within bounds, in windows that fit the CPU's cache, and verified on the way."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dcp_conformance.reference_impl.errors import CorruptCheckpointError
from dcp_conformance.reference_impl.files import checksum
from dcp_conformance.reference_impl.files.archive import TensorLayout, check_records
from dcp_conformance.reference_impl.files.local_files import LocalBlob
from dcp_conformance.reference_impl.files.zip_records import Read, is_archive
from dcp_conformance.reference_impl.interchange import MetadataIndex, StorageInfo

#: Bytes read and verified at a time; fits the CPU's cache, so verifying does not wait for memory.
WINDOW = 1 << 20
#: Bytes at both ends of a large entry in which all is that torch.save writes around the elements.
_END = 1 << 12


@dataclass(frozen=True)
class EntryBytes:
    """One entry in an open file."""

    blob: LocalBlob
    index: MetadataIndex
    info: StorageInfo
    #: False skips all checksums.
    verify: bool

    def __post_init__(self) -> None:
        """Raises CorruptCheckpointError for a range outside of the file, before any memory is taken for it."""
        offset, length = self.info.offset, self.info.length
        if offset < 0 or length < 0 or offset + length > self.blob.size:
            raise CorruptCheckpointError(
                f"{self.what}: bytes {offset} to {offset + length} are outside of the file's {self.blob.size} bytes"
            )

    @property
    def what(self) -> str:
        place = "" if self.index.offset is None else f" at offset {tuple(self.index.offset)}"
        return f"the entry {self.index.fqn!r}{place} in the file {self.blob.name!r}"

    def decoded(self, decode: Any) -> bytes | bytearray:
        """Return all of it, with ``decode`` undoing a stream transform."""
        data = bytearray(self.info.length)
        self._read(memoryview(data))
        if decode is None:
            return data
        try:
            return decode(data)  # type: ignore[no-any-return]
        except Exception as error:
            raise CorruptCheckpointError(f"{self.what} cannot be decoded ({short(error)})") from error

    def by_ends(self) -> Read:
        """Return the reads within the entry; what lies near its ends was read already."""
        offset, length = self.info.offset, self.info.length
        # Two reads in place of a dozen small ones: on a remote store each costs a round trip.
        head = memoryview(self.blob.read(offset, _END))
        tail = memoryview(self.blob.read(offset + length - _END, _END))

        def read(start: int, count: int) -> bytes | bytearray | memoryview:
            if start + count <= _END:
                return head[start : start + count]
            if start >= length - _END:
                return tail[start + _END - length : start + _END - length + count]
            if start + count > length:
                raise CorruptCheckpointError("a record lies outside of it")
            return self.blob.read(offset + start, count)

        return read

    def explained(self, look: Callable[[], Any]) -> Any:
        """Return what ``look`` gives; an error of it names this entry."""
        try:
            return look()
        except CorruptCheckpointError as error:
            raise CorruptCheckpointError(f"{self.what} is damaged: {error}") from error

    def check_records(self, data: bytes | bytearray) -> None:
        """Of an entry without a checksum of ours: check the CRCs that torch.save notes."""
        if checksum.stored(self.info) is None and self.verify and is_archive(slices(data), len(data)):
            self.explained(lambda: check_records(slices(data), len(data)))

    # -- reading and verifying -----------------------------------------------------------------------------------------

    def _read(self, target: memoryview) -> None:
        crc = self.stream(0, target, checksum.seed(self.index))
        self._require(crc)

    def read_around(self, layout: TensorLayout, read_elements: Callable[[int], int]) -> None:
        """Read the whole entry: the elements by ``read_elements``, which continues a CRC, the rest for verifying."""
        # Our checksum covers the whole entry, torch's CRC the elements only: without ours the rest need not be read.
        own = checksum.stored(self.info) is not None
        if not own:
            self.require_record(layout, read_elements(0))
            return
        if not self.verify:
            read_elements(0)
            return
        crc = read_elements(self._skim(0, layout.start, checksum.seed(self.index)))
        end = layout.start + layout.length
        self._require(self._skim(end, self.info.length - end, crc))

    def stream(self, start: int, target: memoryview, crc: int) -> int:
        for done in range(0, len(target), WINDOW):
            window = target[done : done + WINDOW]
            self.blob.read_into(window, self.info.offset + start + done)
            if self.verify:
                crc = zlib.crc32(window, crc)
        return crc

    def _skim(self, start: int, length: int, crc: int) -> int:
        # Read to be verified only; one window is used again for all of it.
        scratch = memoryview(bytearray(min(length, WINDOW)))
        for done in range(0, length, WINDOW):
            crc = self.stream(start + done, scratch[: min(WINDOW, length - done)], crc)
        return crc

    def require_record(self, layout: TensorLayout, crc: int) -> None:
        """Of an entry without a checksum of ours: the CRC that torch.save notes (0: it was told not to)."""
        if self.verify and layout.crc and crc != layout.crc:
            raise CorruptCheckpointError(f"{self.what} is damaged: the CRC of its elements does not match")

    def _require(self, crc: int) -> None:
        if self.verify:
            checksum.require(checksum.stored(self.info), crc, self.what)


def short(error: Exception) -> str:
    """Return the kind of an error and the first line of its text."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def slices(data: bytes | bytearray) -> Read:
    """Return the reads within bytes in memory."""
    view = memoryview(data)
    return lambda start, count: view[start : start + count]
