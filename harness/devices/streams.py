"""Streams and events of simulated devices under torch's names."""

from __future__ import annotations

import threading
from typing import Any

import torch

from dcp_conformance.harness.devices import SIMULATED as KIND
from dcp_conformance.harness.devices.machine import Machine
from dcp_conformance.harness.devices.work import DEFAULT, Mark

#: torch's number of PrivateUse1 among the types of devices.
_TYPE = 20
_TorchStream: Any = torch.Stream
_TorchEvent: Any = torch.Event


class Stream(_TorchStream):  # type: ignore[misc]
    """A queue of a simulated device. For another kind of device `Stream(...)` gives torch's own."""

    #: Set once, by whoever starts the simulation.
    machine: Machine
    _entered: threading.local

    def __new__(cls, device: Any = None, *, priority: int = 0, queue: int | None = None, **other: Any) -> Any:
        """Make a queue of its own, or name the queue with that number."""
        where = place(cls.machine, device)
        if where.type != KIND or other:
            return _TorchStream(device, priority=priority, **other)
        number = cls.machine.work.new_queue() if queue is None else queue
        made = _TorchStream.__new__(cls, stream_id=number, device_index=where.index, device_type=_TYPE)
        made._entered = threading.local()
        return made

    def query(self) -> bool:
        """Tell whether everything queued has run."""
        return self.machine.work.done(self.machine.work.mark(self.device_index, self.stream_id))

    def synchronize(self) -> None:
        """Wait for everything queued."""
        self.machine.work.finish_queue(self.device_index, self.stream_id)

    def record_event(self, event: Any = None) -> Any:
        """Mark the place behind everything queued."""
        made = Event(self.device) if event is None else event
        made.record(self)
        return made

    def wait_event(self, event: Any) -> None:
        """Let what is queued from now on run after the event."""
        if event.mark is not None:
            self.machine.work.wait(self.device_index, self.stream_id, event.mark)

    def wait_stream(self, stream: Any) -> None:
        """Let what is queued from now on run after what that stream holds now."""
        mark = self.machine.work.mark(stream.device_index, stream.stream_id)
        self.machine.work.wait(self.device_index, self.stream_id, mark)

    def __enter__(self) -> Any:
        """Make this the calling thread's stream, and its device the current one."""
        stack = self._entered.__dict__.setdefault("stack", [])
        stack.append((self.machine.current, self.machine.queue(self.device_index)))
        self.machine.current = self.device_index
        self.machine.use_queue(self.device_index, self.stream_id)
        return self

    def __exit__(self, *error: object) -> None:
        """Go back to the stream and the device from before."""
        device, queue = self._entered.stack.pop()
        self.machine.use_queue(self.device_index, queue)
        self.machine.current = device

    def __eq__(self, other: object) -> bool:
        """Compare by device and queue."""
        return isinstance(other, _TorchStream) and _key(self) == _key(other)

    def __hash__(self) -> int:
        """As equality has it."""
        return hash(_key(self))


class Event(_TorchEvent):  # type: ignore[misc]
    """A place in a queue."""

    mark: Mark | None

    def __new__(cls, device: Any = None, **options: Any) -> Any:
        """Make an event that is not recorded yet. For another kind of device: torch's own."""
        where = place(Stream.machine, device)
        if where.type != KIND:
            return _TorchEvent(device, **options)
        made = _TorchEvent.__new__(cls, device=where)
        made.mark = None
        return made

    def record(self, stream: Any = None) -> None:
        """Mark the place behind everything that the stream holds now."""
        held = current_stream() if stream is None else stream
        self.mark = Stream.machine.work.mark(held.device_index, held.stream_id)

    def wait(self, stream: Any = None) -> None:
        """Let what comes into the stream from now on run after this."""
        (current_stream() if stream is None else stream).wait_event(self)

    def query(self) -> bool:
        """Tell whether everything before it has run; true before it is recorded."""
        return self.mark is None or Stream.machine.work.done(self.mark)

    def synchronize(self) -> None:
        """Wait for everything before it."""
        if self.mark is not None:
            Stream.machine.work.finish(self.mark)


def current_stream(device: Any = None) -> Stream:
    """Return the calling thread's stream on a device."""
    index = place(Stream.machine, device).index
    made: Stream = Stream(torch.device(KIND, index), queue=Stream.machine.queue(index))
    return made


def default_stream(device: Any = None) -> Stream:
    """Return the stream on which a device's work goes unless something else is said."""
    made: Stream = Stream(torch.device(KIND, place(Stream.machine, device).index), queue=DEFAULT)
    return made


def place(machine: Machine, device: Any) -> torch.device:
    """Return the device that is meant by what torch's functions take for one: nothing, a number, a name, a device."""
    if device is None or isinstance(device, int):
        return torch.device(KIND, machine.current if device is None or device < 0 else device)
    named = torch.device(device)
    return torch.device(KIND, machine.current) if named.type == KIND and named.index is None else named


def _key(stream: Any) -> tuple[Any, ...]:
    return (stream.device_type, stream.device_index, stream.stream_id)
