"""Stream transforms for tests: each changes every byte, and none commutes with all others."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

from torch.distributed.checkpoint._extension import ExtensionRegistry, StreamTransformExtension

# Name of the transform -> table of bytes. `turn` and `flip` commute with nothing here; `flip` and `mask` do.
TABLES = {
    "turn": bytes((byte + 13) % 256 for byte in range(256)),
    "flip": bytes(byte ^ 0x5A for byte in range(256)),
    "mask": bytes(byte ^ 0x33 for byte in range(256)),
}


class Log:
    """What happened to the streams of transforms, by event."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()


def transform(name: str, log: Log, *, holds_back: bool = False, seekable: bool = True) -> type[Any]:
    """Return a transform class by its name in TABLES; without arguments it makes an extension.

    holds_back: nothing is passed on before the stream is closed. seekable: of the stream that is read from.
    """

    class Transform(StreamTransformExtension):
        @staticmethod
        def registry_name() -> str:
            return descriptor_name(name)

        @staticmethod
        def from_descriptor(version: str) -> Any:
            return Transform()

        def get_descriptor(self) -> str:
            return descriptor(name)

        def transform_to(self, output: Any) -> Any:
            log.counts[f"{name} opened"] += 1
            return _Writing(output, name, log, holds_back)

        def transform_from(self, input: Any) -> Any:
            log.counts[f"{name} undone"] += 1
            return io.BytesIO(undone(name, input.read())) if seekable else _Reading(input, name)

    return Transform


def registry(*kinds: type[Any]) -> Any:
    """Return a registry that knows these transforms."""
    made = ExtensionRegistry()
    for kind in kinds:
        made.register(kind)
    return made


def descriptor_name(name: str) -> str:
    """Report how a transform of TABLES is registered."""
    return f"conformance.{name}"


def descriptor(name: str) -> str:
    """Report how an entry names a transform of TABLES."""
    return f"{descriptor_name(name)}/1"


def applied(name: str, data: bytes) -> bytes:
    """`data` after a transform."""
    return data.translate(TABLES[name])


def undone(name: str, data: bytes) -> bytes:
    """`data` before a transform."""
    return bytes(data).translate(bytes(TABLES[name].index(byte) for byte in range(256)))


class _Writing(io.RawIOBase):
    """Can neither seek nor tell, and closes what it writes to, as transforms must."""

    def __init__(self, output: Any, name: str, log: Log, holds_back: bool) -> None:
        super().__init__()
        self._output, self._name, self._log = output, name, log
        self._held: list[bytes] | None = [] if holds_back else None

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        changed = applied(self._name, bytes(data))
        if self._held is None:
            self._output.write(changed)
        else:
            self._held.append(changed)
        return len(changed)

    def close(self) -> None:
        if not self.closed:
            self._log.counts[f"{self._name} closed"] += 1
            if self._held:
                self._output.write(b"".join(self._held))
            self._output.close()
        super().close()


class _Reading(io.RawIOBase):
    """A stream that can only be read on, never sought."""

    def __init__(self, source: Any, name: str) -> None:
        super().__init__()
        self._source, self._name = source, name

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any) -> int:
        data = undone(self._name, self._source.read(len(room)))
        room[: len(data)] = data
        return len(data)
