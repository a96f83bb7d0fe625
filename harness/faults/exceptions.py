"""Exceptions that storage code really raises and engines stumble over, made by name so that faults stay plain data."""

from __future__ import annotations

import builtins
import threading


class TwoArguments(Exception):
    """Pickles, but does not unpickle: its constructor takes other arguments. Many cloud SDK errors are like this."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(f"{code}: {what}")


class HoldsLock(Exception):
    """Cannot be pickled: it holds a lock, as errors do that keep their connection."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


def make(name: str, phase: str) -> BaseException:
    """Make an exception of the class `name`, from here or from builtins; its text names the phase that raised it."""
    text = f"injected by dcp-conformance in {phase}"
    if name == "TwoArguments":
        return TwoArguments(503, text)
    if name == "HoldsLock":
        return HoldsLock(text)
    kind = getattr(builtins, name)
    # With an errno, EIO: an OSError of text alone has none, and storages look at it.
    error = kind(5, text) if issubclass(kind, OSError) else kind(text)
    assert isinstance(error, BaseException)
    return error
