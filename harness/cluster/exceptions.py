"""Exceptions as data, written down on the rank that caught them."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Mapping
from typing import Any

from dcp_conformance.harness.cluster.outcomes import ExceptionRecord

_DEEPEST = 8
_MOST_RECORDS = 512
_LONGEST_TEXT = 1 << 16
_MOST_FRAMES = 200


def record(error: BaseException) -> ExceptionRecord:
    """Return everything about an exception that can be told without its class being importable.

    Chains of causes and nested failures are followed at most 8 deep, never round a cycle, 512 exceptions in all.
    """
    return _Recorder().record(error, above=())


class _Recorder:
    def __init__(self) -> None:
        self._left = _MOST_RECORDS

    def record(self, error: BaseException, *, above: tuple[int, ...]) -> ExceptionRecord:
        self._left -= 1
        # On the way down only: the same exception may lawfully be the failure of two ranks, but never its own cause.
        above = (*above, id(error))
        return ExceptionRecord(
            type_name=_name(type(error)),
            mro=tuple(_name(cls) for cls in type(error).__mro__),
            text=_text(error),
            traceback=_traceback(error),
            frames=_frames(error),
            failures=self._failures(error, above),
            cause=self._cause(error, above),
            picklable=_survives_pickle(error),
        )

    def _may_follow(self, error: BaseException, above: tuple[int, ...]) -> bool:
        return self._left > 0 and len(above) < _DEEPEST and id(error) not in above

    def _failures(self, error: BaseException, above: tuple[int, ...]) -> dict[int, ExceptionRecord] | None:
        try:
            found: Any = getattr(error, "failures", None)
        except Exception:  # a property of a foreign class; its failure means there is no mapping to tell about
            return None
        if not isinstance(found, Mapping):
            return None
        records = {}
        for rank, wrapped in list(found.items()):
            exception = wrapped[0] if isinstance(wrapped, tuple) and wrapped else wrapped
            if not isinstance(rank, int) or not isinstance(exception, BaseException):
                return None  # something else that happens to be called `failures`
            if self._may_follow(exception, above):
                records[int(rank)] = self.record(exception, above=above)
        return records

    def _cause(self, error: BaseException, above: tuple[int, ...]) -> ExceptionRecord | None:
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return self.record(cause, above=above) if cause is not None and self._may_follow(cause, above) else None


def _name(cls: type) -> str:
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _text(error: BaseException) -> str:
    try:
        return str(error)[:_LONGEST_TEXT]
    except Exception as second:  # a broken __str__ must not hide the exception it belongs to
        return f"<{type(error).__name__}.__str__ raised {type(second).__name__}>"


def _traceback(error: BaseException) -> str:
    try:
        lines = traceback.format_exception(type(error), error, error.__traceback__)
    except Exception as second:  # formatting calls __str__ and reads __notes__ of foreign classes
        lines = [*traceback.format_tb(error.__traceback__), f"<cannot be formatted: {type(second).__name__}>\n"]
    return "".join(lines)[-_LONGEST_TEXT:]


def _frames(error: BaseException) -> tuple[tuple[str, int, str], ...]:
    walked = list(traceback.walk_tb(error.__traceback__))[-_MOST_FRAMES:]
    return tuple((frame.f_code.co_filename, line, frame.f_code.co_name) for frame, line in walked)


def _survives_pickle(error: BaseException) -> bool:
    try:
        return isinstance(pickle.loads(pickle.dumps(error)), BaseException)
    except BaseException:  # foreign __reduce__ and __init__ may raise anything, SystemExit included
        return False
