"""Bugs in what is told of saves and loads, and of their failures."""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from torch.distributed.c10d_logger import _c10d_logger

from dcp_conformance import reference_impl
from dcp_conformance.harness import control
from tests.mutants.making import engine, storage


def _save_logged(state: Any, **given: Any) -> Any:
    _c10d_logger.info("saving to %s", given.get("checkpoint_id"))
    return reference_impl.save(state, **given)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _save_silently(state: Any, **given: Any) -> Any:
    with _silence():
        return reference_impl.save(state, **given)


def _save_behind(state: Any, **given: Any) -> Future[Any]:
    """Saves in a thread, and leaves it to the caller to look at the future."""
    for name in ("async_stager", "async_checkpointer_type"):
        given.pop(name, None)
    pool = ThreadPoolExecutor(max_workers=1)
    try:
        return pool.submit(reference_impl.save, copy.deepcopy(state), **given)
    finally:
        pool.shutdown(wait=False)


def _save_and_log(state: Any, **given: Any) -> Any:
    logging.getLogger(__name__).info("saving to %s", f"{given.get('checkpoint_id')}")
    return reference_impl.save(state, **given)


class _SilentWriter(control.Writer):
    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        with _silence():
            super().set_up_storage_writer(is_coordinator, *args, **kwargs)


logs_with_the_collectives = engine(breaks=["LOG-01"], save=_save_logged, offers=("drop_in",))
logs_nothing = engine(breaks=["LOG-02"], save=_save_silently)
logs_no_failure = engine(breaks=["LOG-03"], async_save=_save_behind)
fails_where_it_logs = engine(breaks=["LOG-04"], save=_save_and_log)
overwrites_in_silence = storage(breaks=["LOG-05"], writer=_SilentWriter)
