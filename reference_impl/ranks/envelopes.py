"""Exceptions that travel between ranks.

An exception is sent as plain text plus, where it survives it, its pickle. A rank that cannot unpickle it rebuilds a
stand-in with the same class name, the same text and the nearest built-in base class. So an exception that cannot be
pickled, or that pickles but does not unpickle, is reported like any other and never breaks a collective.
"""

from __future__ import annotations

import builtins
import pickle
import traceback
from dataclasses import dataclass
from typing import Any

from dcp_conformance.reference_impl.interchange import CheckpointException

WrappedException = tuple[BaseException, traceback.StackSummary]


class RemoteException:
    """Marks the stand-in of an exception that could not be sent as it is; ``original`` holds its qualified name."""

    original: str


@dataclass(frozen=True)
class Envelope:
    """An exception in a form that any rank can read."""

    module: str
    qualname: str
    base: str
    text: str
    frames: tuple[tuple[str, int, str, str], ...]
    pickled: bytes | None

    def open(self) -> WrappedException:
        """Return the exception and the stack where it was raised, as ``CheckpointException.failures`` holds them."""
        stack = traceback.StackSummary.from_list(list(self.frames))
        return self._exception(), stack

    def _exception(self) -> BaseException:
        if self.pickled is not None:
            try:
                error = pickle.loads(self.pickled)
            except BaseException:  # its class may exist on the sending rank only
                error = None
            # A pickle may come back as anything; only the exception itself is better than its description.
            if isinstance(error, BaseException) and type(error).__qualname__ == self.qualname:
                return error
        return stand_in(self.module, self.qualname, self.base, self.text)


def stand_in(module: str, qualname: str, base: str, text: str) -> BaseException:
    """Return an exception that prints as the original did: same class name, same text, nearest built-in base."""
    # The nearest built-in base, so that `except OSError` on a peer catches what was an OSError on its rank.
    parent = getattr(builtins, base, Exception)
    name = qualname.rsplit(".", 1)[-1]
    members: dict[str, Any] = {
        "__module__": module,
        "__qualname__": qualname,
        "original": f"{module}.{qualname}",
        "__str__": lambda self: text,
        "__reduce__": lambda self: (stand_in, (module, qualname, base, text)),
    }
    error: BaseException
    try:
        error = type(name, (RemoteException, parent), members)(text)
    except Exception:  # bases such as UnicodeDecodeError want other arguments
        error = type(name, (RemoteException, Exception), members)(text)
    return error


def seal(error: BaseException) -> Envelope:
    """Put an exception into an envelope. Never raises."""
    frames = tuple((f.filename, f.lineno or 0, f.name, f.line or "") for f in traceback.extract_tb(error.__traceback__))
    text = safe_text(error)
    return Envelope(
        module=type(error).__module__,
        qualname=type(error).__qualname__,
        base=_nearest_builtin(type(error)),
        text=text,
        frames=frames,
        pickled=_surviving_pickle(error, text),
    )


def safe_text(value: object) -> str:
    """``str(value)``, or a description where that itself raises."""
    try:
        return str(value)
    except Exception:
        return f"<unprintable {type(value).__qualname__}>"


def _nearest_builtin(cls: type) -> str:
    return next((c.__name__ for c in cls.__mro__ if c.__module__ == "builtins"), "Exception")


def _surviving_pickle(error: BaseException, text: str) -> bytes | None:
    """Return the pickle of ``error`` if it comes back as the same class with the same text, else None."""
    try:
        data = pickle.dumps(error)
        # Tried here, where a failure costs nothing: many exceptions pickle and do not unpickle, as their constructors
        # take other arguments.
        back = pickle.loads(data)
    except BaseException:  # any failure means: send the description instead
        return None
    return data if type(back) is type(error) and safe_text(back) == text else None


def release_frames(error: BaseException) -> None:
    """Drop the tracebacks of an exception: their frames would keep the state dict of the failed save alive."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        current.__traceback__ = None
        current = current.__cause__ or current.__context__


def checkpoint_exception(
    step: str, envelopes: dict[int, Envelope], own_rank: int, own_error: BaseException | None
) -> CheckpointException:
    """Return the merged exception of a step. The failing rank itself keeps its original exception object."""
    failures: dict[int, WrappedException] = {}
    for rank, envelope in sorted(envelopes.items()):
        error, stack = envelope.open() if rank != own_rank or own_error is None else (own_error, _stack(envelope))
        failures[rank] = (error, stack)
    return CheckpointException(step, failures)


def _stack(envelope: Envelope) -> traceback.StackSummary:
    return traceback.StackSummary.from_list(list(envelope.frames))
