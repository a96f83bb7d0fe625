"""Bugs in the write phase: items lost, repeated, cut short or taken in the wrong way."""

from __future__ import annotations

import enum
import io
import os
import threading
import uuid
from typing import Any

import torch
from torch.distributed.checkpoint.planner import WriteItemType
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

from dcp_conformance import reference_impl
from dcp_conformance.harness import control
from dcp_conformance.harness.control.objects import _digest, write_object
from dcp_conformance.harness.faults.proxy import interpose
from tests.mutants.making import Changed, Tap, engine, storage


class _Meeting(control.Writer):
    """Lets all ranks come to the same point before it writes."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        if torch.distributed.is_initialized():
            torch.distributed.barrier()
        return super().write_data(plan, planner)


class _Twice(control.Writer):
    """Reports the last item again when it closes the file."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        results = super().write_data(plan, planner).wait()
        return _done([*results, *results[-1:]])


class _Scrubbing(control.Writer):
    """Gives memory back early: what is stored is not needed any more."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        future = super().write_data(plan, planner)
        for item in plan.items:
            if item.type is not WriteItemType.BYTE_IO:
                planner.resolve_data(item).detach().zero_()
        return future


class _Patience(Tap):
    """A planner that stops waiting for data after a tenth of a second."""

    def resolve_data(self, item: Any) -> Any:
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(self._inner.resolve_data(item)))
        thread.start()
        thread.join(0.1)
        late = not found
        thread.join()
        return torch.zeros_like(found[0]) if late and isinstance(found[0], torch.Tensor) else found[0]


class _Impatient(control.Writer):
    def write_data(self, plan: Any, planner: Any) -> Any:
        return super().write_data(plan, _Patience(planner))


class _Unconjugated(control.Writer):
    """Writes the memory of a tensor and forgets the flag that says how to read it."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        return super().write_data(plan, Changed(planner, lambda tensor: tensor.conj() if tensor.is_conj() else tensor))


class _WholeBuffer(control.Writer):
    """Also keeps the buffer behind each tensor, once."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        def keep(tensor: torch.Tensor) -> torch.Tensor:
            folder = self._root / "buffers"
            folder.mkdir(parents=True, exist_ok=True)
            whole = torch.empty(0, dtype=torch.uint8).set_(tensor.detach().cpu().untyped_storage())
            (folder / uuid.uuid4().hex).write_bytes(whole.numpy().tobytes())
            return tensor

        return super().write_data(plan, Changed(planner, keep))


class _Compact(control.Writer):
    """Has an option that stores doubles in half the space."""

    def __init__(self, checkpoint_id: Any, compact: bool = False) -> None:
        super().__init__(checkpoint_id)
        self._compact = compact

    def write_data(self, plan: Any, planner: Any) -> Any:
        def change(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.float().double() if self._compact and tensor.dtype == torch.float64 else tensor

        return super().write_data(plan, Changed(planner, change))


class _Format(enum.Enum):
    PLAIN = "plain"
    REVERSED = "reversed"


class _OfTwoFormats(control.Writer):
    """Can write tensors from the last to the first, and tells nobody that it did."""

    def __init__(self, checkpoint_id: Any, serialization_format: _Format = _Format.PLAIN) -> None:
        super().__init__(checkpoint_id)
        self._format = serialization_format

    def write_data(self, plan: Any, planner: Any) -> Any:
        def change(tensor: torch.Tensor) -> torch.Tensor:
            dense = tensor.layout is torch.strided and tensor.dim() > 0
            return tensor.flip(0) if self._format is _Format.REVERSED and dense else tensor

        return super().write_data(plan, Changed(planner, change))


class _WaitsForNobody:
    """A tap of an engine that looks at the results of a future, and not at its error."""

    def call(self, method: str, inner: Any, args: Any, kwargs: Any) -> Any:
        future = inner(*args, **kwargs)
        try:
            return _done(future.wait())
        except Exception:  # the bug
            return _done([])


def _careless_save(state_dict: Any, *, storage_writer: Any = None, **kwargs: Any) -> Any:
    tapped = interpose(storage_writer, ("write_data",), _WaitsForNobody())
    return reference_impl.save(state_dict, storage_writer=tapped, **kwargs)


class _Threaded(control.Writer):
    """Writes the second half of its items in a thread whose errors nobody sees."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        results: list[WriteResult] = []

        def work(numbers: range) -> None:
            for number in numbers:
                name = f"{plan.storage_data}-{number}"
                data = control._item_bytes(plan.items[number], planner)
                size = write_object(self._root, name, data)
                results.append(WriteResult(index=plan.items[number].index, size_in_bytes=size, storage_data=name))

        half, threading_hook = len(plan.items) // 2, threading.excepthook
        threading.excepthook = lambda args: None
        thread = threading.Thread(target=work, args=(range(half, len(plan.items)),))
        thread.start()
        try:
            work(range(half))
        finally:
            thread.join()
            threading.excepthook = threading_hook
        return _done(results)


class _WantsItems(control.Writer):
    def prepare_local_plan(self, plan: Any) -> Any:
        if not plan.items:
            raise ValueError("this rank has nothing to write")
        return super().prepare_local_plan(plan)


class _Rankless(control.Writer):
    """Counts the objects of each rank from 0."""

    def prepare_global_plan(self, plans: Any) -> Any:
        return [super(_Rankless, self).prepare_global_plan([plan])[0] for plan in plans]


_OPEN: list[int] = []


class _Leaky(control.Writer):
    def write_data(self, plan: Any, planner: Any) -> Any:
        lock = os.open(self._root.parent, os.O_RDONLY)
        _OPEN.append(lock)
        future = super().write_data(plan, planner)
        os.close(_OPEN.pop())  # never reached when writing fails
        return future


class _Timeouts(Tap):
    """A planner that takes what is not there in time for empty."""

    def resolve_data(self, item: Any) -> Any:
        try:
            return self._inner.resolve_data(item)
        except TimeoutError:
            return torch.zeros(item.tensor_data.chunk.sizes, dtype=item.tensor_data.properties.dtype)


class _TakesTimeouts(control.Writer):
    def write_data(self, plan: Any, planner: Any) -> Any:
        return super().write_data(plan, _Timeouts(planner))


class _OwnFiles(control.Writer):
    """Writes objects by itself, under their final names."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        results = []
        for number, item in enumerate(plan.items):
            name, data = f"{plan.storage_data}-{number}", control._item_bytes(item, planner)
            path = self._root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            self.put(path, _digest(name, data) + data)
            results.append(WriteResult(index=item.index, size_in_bytes=len(data), storage_data=name))
        return _done(results)

    def put(self, path: Any, content: bytes) -> None:
        raise NotImplementedError


class _OneWrite(_OwnFiles):
    """Does not look at what os.write returns."""

    def put(self, path: Any, content: bytes) -> None:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(file, content)
        finally:
            os.close(file)


class _NoCleaning(_OwnFiles):
    """Leaves what it could not finish."""

    def put(self, path: Any, content: bytes) -> None:
        path.write_bytes(content)


class _RemovesUnreadable(control.Reader):
    """Takes every error of a read for a damaged object, and clears it away."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        for request in plan.items:
            try:
                super().read_data(type(plan)([request]), planner)
            except OSError:
                (self._root / self._names[request.storage_index]).unlink(missing_ok=True)
                raise
        return _done(None)


class _Positions(Tap):
    """A planner whose buffers are read from where they stand; one that stands at its end is read whole."""

    def resolve_data(self, item: Any) -> Any:
        data = self._inner.resolve_data(item)
        return io.BytesIO(data.read() or data.getvalue()) if item.type is WriteItemType.BYTE_IO else data


class _FromPosition(control.Writer):
    def write_data(self, plan: Any, planner: Any) -> Any:
        return super().write_data(plan, _Positions(planner))


class _ByteCounter(_OwnFiles):
    """Numbers its objects in one byte."""

    def put(self, path: Any, content: bytes) -> None:
        path.write_bytes(content)

    def write_data(self, plan: Any, planner: Any) -> Any:
        results = super().write_data(plan, planner).wait()
        names = [f"{plan.storage_data}-{number & 0xFF}" for number in range(len(results))]
        return _done([WriteResult(r.index, r.size_in_bytes, name) for r, name in zip(results, names, strict=True)])


def _done(value: Any) -> Any:
    future: Any = Future()
    future.set_result(value)
    return future


reports_an_item_twice = storage(breaks=["WRITE-01"], writer=_Twice)
scrubs_what_it_has_written = storage(breaks=["WRITE-06"], writer=_Scrubbing)
gives_up_on_slow_data = storage(breaks=["WRITE-02"], writer=_Impatient)
forgets_conjugation = storage(breaks=["WRITE-03"], writer=_Unconjugated)
stores_the_buffer_of_a_view = storage(breaks=["WRITE-04"], writer=_WholeBuffer)
compacts_doubles = storage(breaks=["WRITE-07"], writer=_Compact, option_sets=({}, {"compact": True}))
offers_a_format_that_it_cannot_read = storage(breaks=["WRITE-07"], writer=_OfTwoFormats)
ignores_failed_futures = engine(breaks=["WRITE-08"], save=_careless_save)
swallows_errors_of_its_thread = storage(breaks=["WRITE-09", "WRITE-10"], writer=_Threaded)
refuses_a_rank_without_items = storage(breaks=["WRITE-11"], writer=_WantsItems)
names_objects_without_the_rank = storage(breaks=["WRITE-12"], writer=_Rankless)
leaks_on_a_failed_write = storage(breaks=["WRITE-13"], writer=_Leaky)
takes_a_timeout_for_zeros = storage(breaks=["WRITE-14"], writer=_TakesTimeouts)
trusts_one_write = storage(breaks=["WRITE-15"], writer=_OneWrite)
leaves_half_an_object = storage(breaks=["WRITE-16"], writer=_NoCleaning)
removes_what_it_cannot_read = storage(breaks=["WRITE-16"], reader=_RemovesUnreadable)
writes_from_the_current_position = storage(breaks=["WRITE-17"], writer=_FromPosition)
counts_objects_in_one_byte = storage(breaks=["WRITE-19"], writer=_ByteCounter)
meets_before_it_writes = storage(breaks=["WRITE-21"], writer=_Meeting)
