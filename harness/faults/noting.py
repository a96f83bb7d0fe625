"""Notes of what crosses the storage interface, and readers whose answers are changed on the way.

For scenarios that look at plans, write results and metadata: all of them are public at this interface, whichever engine
and whichever storage are under test. What it cannot see: an engine that drives no foreign storage makes no notes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dcp_conformance.harness.faults.fault import READER_PHASES, WRITER_PHASES
from dcp_conformance.harness.faults.proxy import interpose


@dataclass(frozen=True)
class Note:
    """One call that returned: its method, its arguments (by name where they were given by name) and its result."""

    method: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    result: Any

    def argument(self, place: int, name: str) -> Any:
        """Return the argument `name`, which stands at `place` where it was given by position."""
        # Engines may give any argument either way, and torch's own has changed over releases.
        return self.kwargs[name] if name in self.kwargs else self.args[place]


@dataclass
class Notes:
    """The calls of one writer or reader in their order. changes: method -> what the caller gets instead of a result."""

    changes: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    calls: list[Note] = field(default_factory=list)

    def call(self, method: str, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Perform the call, note it down, and pass on its result, changed where that was asked for."""
        result = inner(*args, **kwargs)
        # After the call: one that raised has given nothing to look at.
        self.calls.append(Note(method, args, dict(kwargs), result))
        return self.changes[method](result) if method in self.changes else result

    def of(self, method: str) -> list[Note]:
        """Return the calls of one method."""
        return [note for note in self.calls if note.method == method]


def noted_writer(writer: object, notes: Notes) -> Any:
    """`writer`, with its interface calls written down in `notes`."""
    return interpose(writer, tuple(WRITER_PHASES), notes)


def noted_reader(reader: object, notes: Notes) -> Any:
    """`reader`, with its interface calls written down in `notes`."""
    return interpose(reader, tuple(READER_PHASES), notes)
