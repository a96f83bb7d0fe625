"""Reading one stored entry: checked against its file's size, read once whatever is wanted of it, and verified.

A small entry is read whole. Of a large one the elements are read straight into the target where that is possible (one
pass over the bytes, no copy); else into memory once; and where only a small part is wanted, that part is copied out of
bands of rows, so that memory is bounded by what is asked for. Nothing is mapped: a file that somebody cuts short while
it is mapped kills the process. Entries of an unusual shape are decoded by torch.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dcp_conformance.reference_impl.errors import CorruptCheckpointError
from dcp_conformance.reference_impl.files import checksum
from dcp_conformance.reference_impl.files.archive import TensorLayout, find_tensor
from dcp_conformance.reference_impl.files.entry_bytes import WINDOW, EntryBytes, short, slices
from dcp_conformance.reference_impl.interchange import LoadItemType, LoadPlanner, ReadItem
from dcp_conformance.reference_impl.values.boxes import narrow
from dcp_conformance.reference_impl.values.dtypes import require_dtype
from dcp_conformance.reference_impl.values.memory import memory_of

#: Entries up to this size are read whole, with one read; finding the elements first takes several.
_SMALL = 1 << 18


@dataclass(frozen=True)
class EntryReader:
    """Serves what a planner wants of one entry."""

    entry: EntryBytes

    def serve(self, requests: Sequence[ReadItem], planner: LoadPlanner, decode: Any = None) -> None:
        """Give the planner what it asked for of this entry. ``decode`` undoes a stream transform.

        Raises CorruptCheckpointError for bytes that are not what was saved.
        """
        objects = [request for request in requests if request.type == LoadItemType.BYTE_IO]
        tensors = [request for request in requests if request.type != LoadItemType.BYTE_IO]
        # A transformed entry has no places to read from before it was decoded as a whole.
        if decode is None and not objects and self.entry.info.length > _SMALL:
            layout = self.entry.explained(lambda: find_tensor(self.entry.by_ends(), self.entry.info.length))
            if layout is not None:
                self._serve_large(tensors, planner, layout)
                return
        data = self.entry.decoded(decode)
        if objects:
            self.entry.check_records(data)
        for request in objects:
            planner.load_bytes(request, io.BytesIO(data))
        if tensors:
            self._serve_small(tensors, planner, data)

    # -- small entries -----------------------------------------------------------------------------------------------

    def _serve_small(self, requests: list[ReadItem], planner: LoadPlanner, data: bytes | bytearray) -> None:
        read = slices(data)
        layout = self.entry.explained(lambda: find_tensor(read, len(data)))
        if layout is None:
            self._fill_all(requests, planner, self._unusual(data))
            return
        payload = memoryview(data)[layout.start : layout.start + layout.length]
        if checksum.stored(self.entry.info) is None:
            self.entry.require_record(layout, zlib.crc32(payload))
        first = requests[0]
        if len(requests) == 1 and layout.contiguous and tuple(first.lengths) == layout.size:
            target = planner.resolve_tensor(first).detach()
            if _takes_bytes(target, layout):
                memory_of(target)[:] = payload
                _bump_version(target)
            else:
                self._fill(first, target, layout.over(_copied(payload)), planner)
            planner.commit_tensor(first, target)
        else:
            self._fill_all(requests, planner, layout.over(_copied(payload)))

    def _unusual(self, data: bytes | bytearray) -> torch.Tensor:
        """Return a tensor of a kind that only torch decodes."""
        self.entry.check_records(data)
        try:
            tensor = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        except Exception as error:
            raise CorruptCheckpointError(f"{self.entry.what} cannot be read as a tensor ({short(error)})") from error
        if not isinstance(tensor, torch.Tensor):
            raise CorruptCheckpointError(f"{self.entry.what} holds a {type(tensor).__name__}, not a tensor")
        return tensor

    # -- large entries -----------------------------------------------------------------------------------------------

    def _serve_large(self, requests: list[ReadItem], planner: LoadPlanner, layout: TensorLayout) -> None:
        first = requests[0]
        if len(requests) == 1 and layout.contiguous and tuple(first.lengths) == layout.size:
            target = planner.resolve_tensor(first).detach()
            if _takes_bytes(target, layout):
                self.entry.read_around(layout, lambda crc: self.entry.stream(layout.start, memory_of(target), crc))
                _bump_version(target)
            else:
                self._fill(first, target, self._payload(layout), planner)
            planner.commit_tensor(first, target)
            return
        wanted = sum(request.lengths.numel() for request in requests) * layout.dtype.itemsize
        # Where most of it is wanted, one copy of all is cheaper than bands; rows can only be cut where they lie in
        # order.
        if wanted * 2 > layout.length or not layout.contiguous:
            self._fill_all(requests, planner, self._payload(layout))
        else:
            self._fill_from_bands(requests, planner, layout)

    def _payload(self, layout: TensorLayout) -> torch.Tensor:
        data = torch.empty(layout.length, dtype=torch.uint8, device="cpu")
        self.entry.read_around(layout, lambda crc: self.entry.stream(layout.start, memory_of(data), crc))
        return layout.over(data)

    def _fill_from_bands(self, requests: list[ReadItem], planner: LoadPlanner, layout: TensorLayout) -> None:
        """Copy small parts out of the elements while these pass by, a few rows at a time."""
        targets = [(request, planner.resolve_tensor(request).detach()) for request in requests]
        for request, target in targets:
            # Before the first byte is copied: nothing of the caller's changes for a request that cannot be met.
            self._require_fit(request, target, layout.size, layout.dtype, planner)

        def pass_by(crc: int) -> int:
            for rows, band, crc_after in self._bands(layout, crc):
                crc = crc_after
                for request, target in targets:
                    _copy_rows(request, target, band, rows)
            return crc

        self.entry.read_around(layout, pass_by)
        for request, target in targets:
            planner.commit_tensor(request, target)

    def _bands(self, layout: TensorLayout, crc: int) -> Iterator[tuple[range, torch.Tensor, int]]:
        """Yield the rows along the first dimension, with their numbers and the CRC up to their end."""
        count = layout.size[0]
        row_bytes = layout.length // count
        # At least one row, however long: memory is bounded by what a row takes.
        height = min(count, max(1, WINDOW // row_bytes))
        memory = torch.empty(height * row_bytes, dtype=torch.uint8, device="cpu")
        for start in range(0, count, height):
            rows = range(start, min(start + height, count))
            data = memory[: len(rows) * row_bytes]
            crc = self.entry.stream(layout.start + start * row_bytes, memory_of(data), crc)
            yield rows, data.view(layout.dtype).view(len(rows), *layout.size[1:]), crc

    # -- filling targets -----------------------------------------------------------------------------------------------

    def _fill_all(self, requests: list[ReadItem], planner: LoadPlanner, source: torch.Tensor) -> None:
        for request in requests:
            target = planner.resolve_tensor(request).detach()
            self._fill(request, target, source, planner)
            planner.commit_tensor(request, target)

    def _fill(self, request: ReadItem, target: torch.Tensor, source: torch.Tensor, planner: LoadPlanner) -> None:
        self._require_fit(request, target, tuple(source.size()), source.dtype, planner)
        target.copy_(narrow(source, request.storage_offsets, request.lengths))

    def _require_fit(
        self, request: ReadItem, target: torch.Tensor, size: tuple[int, ...], dtype: torch.dtype, planner: LoadPlanner
    ) -> None:
        """Raise unless the wanted part lies in what is stored, and its values fit into the target."""
        ends = [o + n for o, n in zip(request.storage_offsets, request.lengths, strict=True)]
        if len(ends) != len(size) or any(end > n for end, n in zip(ends, size, strict=True)):
            raise CorruptCheckpointError(
                f"{self.entry.what} has size {size}; the part up to {tuple(ends)} is not in it"
            )
        if target.size() != request.lengths:
            raise ValueError(
                f"{self.entry.what}: the target has size {tuple(target.size())}, needed is {tuple(request.lengths)}"
            )
        # The planner of this package has looked at this already, and has warned once for all values.
        strict = getattr(planner, "strict_dtypes", None)
        if strict is not False:
            require_dtype(self.entry.index.fqn, dtype, target.dtype, strict=bool(strict))


def _copied(payload: memoryview) -> torch.Tensor:
    data = torch.empty(len(payload), dtype=torch.uint8, device="cpu")
    memory_of(data)[:] = payload
    return data


def _copy_rows(request: ReadItem, target: torch.Tensor, band: torch.Tensor, rows: range) -> None:
    """Copy what a request wants of a band of rows."""
    first, count = request.storage_offsets[0], request.lengths[0]
    start, end = max(rows.start, first), min(rows.stop, first + count)
    if start < end:
        wanted = narrow(band.narrow(0, start - rows.start, end - start), (0, *request.storage_offsets[1:]),
                        (end - start, *request.lengths[1:]))  # fmt: skip
        target.narrow(0, start - first, end - start).copy_(wanted)


def _takes_bytes(target: torch.Tensor, layout: TensorLayout) -> bool:
    """Tell whether the stored bytes are, one by one, the bytes of this target."""
    return (
        type(target) is torch.Tensor
        and target.device.type == "cpu"
        and target.layout == torch.strided
        and target.dtype == layout.dtype
        and tuple(target.size()) == layout.size
        and target.is_contiguous()
        and not target.is_conj()
        and not target.is_neg()
    )


def _bump_version(target: torch.Tensor) -> None:
    """Tell autograd that the tensor changed, as an in-place operation would."""
    if not target.is_inference():
        torch.autograd.graph.increment_version(target)
