"""Stagers that callers may pass to async_save: prompt, late, failing, and all of them telling what happened to them."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

State = dict[str, Any]


class PromptStager:
    """Copies at once. `calls` names what was called, in order, and by which thread's kind (own or other)."""

    def __init__(self, stage: Callable[[State], State] = copy.deepcopy, *, synchronize: bool = False) -> None:
        self._stage, self._synchronize, self._home = stage, synchronize, threading.get_ident()
        self.calls: list[str] = []

    # Part of the protocol by which engines recognise a stager.
    _synchronize_after_execute = True

    @property
    def should_synchronize_after_execute(self) -> bool:
        return self._synchronize

    def stage(self, state_dict: State) -> State | Future[State]:
        self._called("stage")
        return self._stage(state_dict)

    def synchronize_staging(self) -> None:
        self._called("synchronize_staging")

    def close(self) -> None:
        self._called("close")

    def _called(self, name: str) -> None:
        self.calls.append(name if threading.get_ident() == self._home else f"{name} in another thread")


class LateStager(PromptStager):
    """Copies in a thread, a moment later, and returns a future."""

    def stage(self, state_dict: State) -> Future[State]:
        self._called("stage")
        staged: Future[State] = Future()

        def work() -> None:
            try:
                staged.set_result(self._stage(state_dict))
            except BaseException as error:  # delivered by the future
                staged.set_exception(error)

        # Late enough that an engine which does not wait goes on before it.
        threading.Timer(0.1, work).start()
        return staged


class FailingStager(PromptStager):
    """Its staging fails, in a way.

    how: `raised` by the call itself; `failed`: the future that it returns has failed already; `late`: it fails a moment
    later; `interrupted`: it fails a moment later with a KeyboardInterrupt.
    """

    def __init__(self, how: str) -> None:
        super().__init__()
        self._how = how

    def stage(self, state_dict: State) -> Future[State]:
        error = (
            KeyboardInterrupt()
            if self._how == "interrupted"
            else RuntimeError("injected by dcp-conformance in staging")
        )
        if self._how == "raised":
            raise error
        staged: Future[State] = Future()
        if self._how == "failed":
            staged.set_exception(error)
        else:
            threading.Timer(0.1, staged.set_exception, (error,)).start()
        return staged


def futures(response: Any) -> tuple[Any, Any]:
    """(staging, upload) of what async_save returned; staging is None where the call staged before it returned."""
    if hasattr(response, "upload_completion"):
        return response.staging_completion, response.upload_completion
    return None, response
