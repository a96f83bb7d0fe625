"""Listen to what save and load tell: warnings, log records, standard error."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from torch.distributed.c10d_logger import _c10d_logger

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.faults.proxy import interpose
from dcp_conformance.harness.laws.observations import Attempt
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.looking import uses_storage
from dcp_conformance.harness.subject.session import Session

PATIENCE = 20.0  # seconds until an asynchronous save must be over


def of_collectives(session: Session) -> dict[str, Any]:
    """Report the handlers of collectives' logger after a save and a load, and what they told of the checkpoint."""
    heard: list[str] = []
    listener = _Listener(heard)
    handlers = len(_c10d_logger.handlers)
    _c10d_logger.addHandler(listener)
    try:
        checkpoint_id, name = _id(session)
        session.save(_state(), checkpoint_id, style="passed")
        session.load(blank(_state()), checkpoint_id, style="passed")
    finally:
        _c10d_logger.removeHandler(listener)
    return {
        "before": handlers,
        "handlers": len(_c10d_logger.handlers),
        "told": [text for text in heard if name in text],
    }


def told_of_calls(session: Session) -> dict[str, list[str]]:
    """For a save, a load, and a load that fails: the log records that name the checkpoint, in order."""
    found = {}
    checkpoint_id, name = _id(session)
    nothing, no_name = _id(session, "nothing")
    for call, act in (
        ("save", lambda: session.save(_state(), checkpoint_id, style="passed")),
        ("load", lambda: session.load(blank(_state()), checkpoint_id, style="passed")),
        ("failing load", lambda: session.load(blank(_state()), nothing, style="passed")),
    ):
        with _everything_heard() as heard:
            session.attempt(act)
        found[call] = [text for text in heard if (no_name if call == "failing load" else name) in text]
    return found


def unnoticed_failure(session: Session) -> Attempt | None:
    """Let a save fail in the background while nobody asks; None where there is no async_save."""
    if session.engine.async_save is None or "async_save" in session.storage.unsupported:
        return None
    fault = Fault(phase="write_data", ranks=(session.rank,), exception="OSError")
    call = session.attempt(_save_and_forget, session, {"faults": (fault,)})
    gc.collect()
    sys.stdout.flush()
    sys.stderr.flush()
    return call


def hostile_to_logging(session: Session) -> dict[str, Any]:
    """Make a round trip whose id cannot be printed in a log line, and whose state holds an object without a repr."""
    if not uses_storage(session):
        session.excuse("the engine's save and load take no storage of others, which may need the text of an id")
    checkpoint_id, _ = _id(session)
    state: dict[str, Any] = _state()
    if "objects" not in session.storage.unsupported:
        state["object"] = WithoutRepr()
    target = blank(state)
    unprintable = UnprintableId(str(checkpoint_id))
    with _everything_heard():
        save = session.attempt(
            session.save,
            state,
            unprintable,
            style="passed",
            writer=_given(session.writer(checkpoint_id), checkpoint_id),
        )
        load = session.attempt(
            session.load,
            target,
            unprintable,
            style="passed",
            reader=_given(session.reader(checkpoint_id), checkpoint_id),
        )
    return {"save": save, "load": load, "differences": differences(state, target) if save.ok and load.ok else []}


def warned_of_overwrite(session: Session) -> list[list[str]]:
    """Return the warnings, logged or not, of a first save to an id and of a second."""
    checkpoint_id, _ = _id(session)
    found = []
    for _turn in range(2):
        with _everything_heard(logging.WARNING) as heard, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            session.save(_state(), checkpoint_id)
        found.append(sorted({*heard, *(str(item.message) for item in caught)}))
    return found


class WithoutRepr:
    """An object that cannot be printed."""

    def __repr__(self) -> str:
        raise RuntimeError("this object has no repr")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WithoutRepr)

    __hash__ = None  # type: ignore[assignment]


class UnprintableId(os.PathLike[str]):
    """A path that is a path for everybody, but whose text cannot be had by code that logs."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return self.path

    def __str__(self) -> str:
        caller = sys._getframe(1).f_code
        if "log" in os.path.basename(caller.co_filename) or "log" in caller.co_name or "logging" in caller.co_filename:
            raise RuntimeError("this id cannot be printed in a log line")
        return self.path

    __repr__ = __str__


class _Listener(logging.Handler):
    def __init__(self, heard: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self.heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(_text(record))


class _Reset:
    """Gives a reset the id itself: storage may need the text of its id, an engine does not."""

    def __init__(self, checkpoint_id: Any) -> None:
        self.checkpoint_id = checkpoint_id

    def call(self, method: str, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return inner(self.checkpoint_id)


def _given(storage: Any, checkpoint_id: Any) -> Any:
    return interpose(storage, ("reset",), _Reset(checkpoint_id))


@contextlib.contextmanager
def _everything_heard(level: int = logging.DEBUG) -> Iterator[list[str]]:
    """Collect the texts of all log records of at least `level`, whichever logger makes them."""
    heard: list[str] = []
    factory, root, before = logging.getLogRecordFactory(), logging.getLogger(), logging.getLogger().level

    def hear(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = factory(*args, **kwargs)
        if record.levelno >= level:
            # Without the private fields that every record has: only what was said, and what was attached to it.
            heard.append(_text(record))
        return record

    logging.setLogRecordFactory(hear)
    root.setLevel(level)
    try:
        yield heard
    finally:
        logging.setLogRecordFactory(factory)
        root.setLevel(before)


_USUAL = frozenset(vars(logging.LogRecord("", 0, "", 0, "", None, None)))


def _text(record: logging.LogRecord) -> str:
    extra = {name: value for name, value in vars(record).items() if name not in _USUAL}
    try:
        return f"{record.getMessage()} {extra or ''}".strip()
    except Exception:  # a record that cannot be rendered tells nothing, and must not fail the call that made it
        return ""


def _save_and_forget(session: Session, arguments: dict[str, Any]) -> None:
    response = session.async_save(_state(), session.new_id(), **arguments)
    upload, end = getattr(response, "upload_completion", response), time.monotonic() + PATIENCE
    while not upload.done() and time.monotonic() < end:
        time.sleep(0.005)
    # A moment for callbacks that report: they run after done() is true.
    time.sleep(0.05)


def _id(session: Session, name: str = "checkpoint") -> tuple[Any, str]:
    checkpoint_id = session.new_id(name)
    return checkpoint_id, os.path.basename(str(checkpoint_id).rstrip("/"))


def _state() -> dict[str, Any]:
    return {"t": coded(1, (4,), version=1), "u": coded(2, (2, 2), version=1)}
