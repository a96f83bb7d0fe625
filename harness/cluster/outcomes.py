"""What ranks answer: one outcome a rank, plain data only.

Nothing here needs torch or the code under test, so that the driving process can hold every outcome of a
broken backend without importing it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Doubt:
    """One reason not to believe a rank."""

    #: Its channel held what no rank says; functions for evidence were replaced; loaded values did not stay.
    kind: Literal["garbled", "replaced", "changed"]
    #: Half a sentence: what was seen.
    text: str


@dataclass(frozen=True)
class Event:
    """One `emit` of a rank: what happened and when."""

    kind: str
    data: Mapping[str, Any]
    #: Seconds since the run began.
    at: float


@dataclass(frozen=True, kw_only=True)
class ExceptionRecord:
    """An exception as data: its classes by name, its texts, the exceptions that caused it."""

    #: Qualified name of the class, `module.Class`; builtins without the module.
    type_name: str
    #: Qualified names of the class and its bases, most derived first.
    mro: tuple[str, ...]
    text: str
    traceback: str
    #: (file, line, function) from the outermost frame to the one that raised.
    frames: tuple[tuple[str, int, str], ...]
    #: What each failing rank raised, for exceptions that carry `.failures` as CheckpointException does.
    failures: dict[int, ExceptionRecord] | None = None
    cause: ExceptionRecord | None = None
    #: The exception survives pickle and unpickle, so that torch can send it to other ranks.
    picklable: bool = True

    def is_a(self, class_name: str) -> bool:
        """Tell whether the class or a base of it has this name, qualified or not."""
        return any(name == class_name or name.rpartition(".")[2] == class_name for name in self.mro)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one rank did in one run. Always one of Returned, Raised, Died, Hung."""

    rank: int
    events: tuple[Event, ...] = ()
    #: Tail of what the rank and its children wrote to stdout and stderr during the run.
    output: str = field(default="", repr=False)
    #: One sentence for everything the run changed in the process and did not restore.
    leftovers: tuple[str, ...] = ()
    #: What was done to the evidence; nothing that the rank said counts then.
    doubts: tuple[Doubt, ...] = ()
    #: Duration of the function; for a rank without an answer, until the run was given up.
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Returned(Outcome):
    """The function came back with a value (plain data)."""

    value: Any = None


@dataclass(frozen=True, kw_only=True)
class Raised(Outcome):
    """The function raised, or its value could not be sent."""

    error: ExceptionRecord


@dataclass(frozen=True, kw_only=True)
class Died(Outcome):
    """The process ended without an answer: by a signal, or by its own exit. One of the two is None."""

    signal: int | None = None
    exit_code: int | None = None


@dataclass(frozen=True, kw_only=True)
class Hung(Outcome):
    """The rank never answered."""

    #: Every thread's Python stack at the time it was given up, or why there is none.
    stack: str = field(default="", repr=False)
    #: The process was stopped (SIGSTOP and its like), so it could not have answered.
    stopped: bool = False
    #: Seconds from the start of the run until it was given up.
    waited: float = 0.0
