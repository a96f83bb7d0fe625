"""Bugs in saving in the background: copies that are none, futures that lie, saves that mix or get lost."""

from __future__ import annotations

import copy
import functools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import torch
import torch.distributed as dist

from dcp_conformance import reference_impl
from dcp_conformance.harness import control
from dcp_conformance.reference_impl import AsyncCheckpointerType, DefaultStager, StagingOptions
from dcp_conformance.reference_impl.engine.save import SaveRun
from dcp_conformance.reference_impl.ranks.crew import Crew
from tests.mutants.making import Tap, engine, storage

_reference = reference_impl.async_save


def _like_reference(function: Callable[..., Any]) -> Callable[..., Any]:
    return functools.wraps(_reference)(function)


def _upload(response: Any) -> Any:
    return getattr(response, "upload_completion", response)


def _stager() -> DefaultStager:
    return DefaultStager(StagingOptions(False, False, False, False))


def _pass_on(source: Any, target: Future[Any], change: Callable[[BaseException | None], BaseException | None]) -> None:
    def done(finished: Any) -> None:
        error = change(finished.exception())
        if error is None:
            target.set_result(None if finished.exception() else finished.result())
        else:
            target.set_exception(error)

    source.add_done_callback(done)


@_like_reference
def _one_future(state_dict: Any, **kwargs: Any) -> Any:
    return _upload(_reference(state_dict, **kwargs))


class _NoCopy:
    should_synchronize_after_execute = False

    def stage(self, state_dict: Any) -> Any:
        return dict(state_dict)

    def synchronize_staging(self) -> None:
        """It has been, if nothing is to be done."""

    def close(self) -> None:
        """Nothing is held."""


@_like_reference
def _no_copy(state_dict: Any, **kwargs: Any) -> Any:
    return _reference(state_dict, **{**kwargs, "async_stager": _NoCopy()})


class _SameBuffers(_NoCopy):
    def __init__(self, options: Any) -> None:
        self._buffers: dict[str, torch.Tensor] = {}

    def stage(self, state_dict: Any) -> Any:
        for key, item in state_dict.items():
            self._buffers.setdefault(key, torch.empty_like(item)).copy_(item)
        return dict(self._buffers)


@_like_reference
def _drops_errors(state_dict: Any, **kwargs: Any) -> Any:
    future: Future[Any] = Future()
    _pass_on(_upload(_reference(state_dict, **kwargs)), future, lambda error: None)
    return future


@_like_reference
def _late_errors(state_dict: Any, **kwargs: Any) -> Any:
    try:
        return _reference(state_dict, **kwargs)
    except BaseException as error:
        future: Future[Any] = Future()
        future.set_exception(error)
        return future


@_like_reference
def _went_well(state_dict: Any, **kwargs: Any) -> Any:
    response = _reference(state_dict, **kwargs)
    if hasattr(response, "staging_completion"):
        response.staging_completion = Future()
        response.staging_completion.set_result(None)
    return response


def _in_thread(state: Callable[[], Any], kwargs: dict[str, Any], *, daemon: bool = False) -> Future[Any]:
    """Save in a thread, without a queue and without a word when it fails."""
    future: Future[Any] = Future()
    crew = Crew.form(kwargs.get("process_group"), no_dist=kwargs.get("no_dist", False))

    def work() -> None:
        try:
            with crew.at_work():
                staged = state()
                writer = kwargs["storage_writer"]
                run = SaveRun(crew, find_writer=lambda: writer, find_state=lambda: staged, state_dict=staged)
                future.set_result(run.run())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=daemon).start()
    return future


@_like_reference
def _silent(state_dict: Any, **kwargs: Any) -> Any:
    staged = copy.deepcopy(state_dict)
    return _in_thread(lambda: staged, kwargs)


@_like_reference
def _daemon(state_dict: Any, **kwargs: Any) -> Any:
    staged = copy.deepcopy(state_dict)
    return _in_thread(lambda: staged, kwargs, daemon=True)


def _is_process(kwargs: dict[str, Any]) -> bool:
    return kwargs.get("async_checkpointer_type") is AsyncCheckpointerType.PROCESS


@_like_reference
def _narrows(state_dict: Any, **kwargs: Any) -> Any:
    if _is_process(kwargs):
        state_dict = {key: item.float().double() for key, item in state_dict.items()}
    return _reference(state_dict, **kwargs)


_gone: list[bool] = []


@_like_reference
def _gives_up(state_dict: Any, **kwargs: Any) -> Any:
    if _is_process(kwargs) and _gone:
        future: Future[Any] = Future()
        future.set_exception(BrokenPipeError(32, "Broken pipe"))
        return future
    upload = _upload(_reference(state_dict, **kwargs))
    upload.add_done_callback(lambda done: _gone.append(True) if done.exception() else None)
    return upload


@_like_reference
def _wants_group(state_dict: Any, **kwargs: Any) -> Any:
    if _is_process(kwargs) and not dist.is_initialized():
        raise ValueError("Default process group has not been initialized")
    return _reference(state_dict, **kwargs)


_first_group: list[Any] = []


@_like_reference
def _first_group_only(state_dict: Any, **kwargs: Any) -> Any:
    if _is_process(kwargs):
        _first_group.append(kwargs.get("process_group"))
        kwargs["process_group"] = _first_group[0]
    return _reference(state_dict, **kwargs)


@_like_reference
def _closes(state_dict: Any, **kwargs: Any) -> Any:
    response, stager = _reference(state_dict, **kwargs), kwargs.get("async_stager")
    if stager is not None:
        _upload(response).add_done_callback(lambda _: stager.close())
    return response


_kept: list[Any] = []


class _Keeping(_NoCopy):
    def stage(self, state_dict: Any) -> Any:
        _kept.append(_stager().stage(state_dict))
        return _kept[-1]


@_like_reference
def _keeps(state_dict: Any, **kwargs: Any) -> Any:
    return _reference(state_dict, **{"async_stager": _Keeping(), **kwargs})


class _Hasty(_NoCopy):
    def __init__(self, stager: Any) -> None:
        self.stage = stager.stage  # type: ignore[method-assign]


@_like_reference
def _hasty(state_dict: Any, **kwargs: Any) -> Any:
    if kwargs.get("async_stager") is not None:
        kwargs["async_stager"] = _Hasty(kwargs["async_stager"])
    return _reference(state_dict, **kwargs)


@_like_reference
def _by_itself(state_dict: Any, **kwargs: Any) -> Any:
    return _reference(state_dict, **{"async_stager": _stager(), **kwargs})


_latest: list[Any] = [None]


@_like_reference
def _saves_latest(state_dict: Any, **kwargs: Any) -> Any:
    _latest[0] = copy.deepcopy(state_dict)

    def late() -> Any:
        time.sleep(0.2)
        return _latest[0]

    return _in_thread(late, kwargs)


@_like_reference
def _exclusive(state_dict: Any, **kwargs: Any) -> Any:
    all_reduce = dist.all_reduce

    def refuse(*args: Any, **rest: Any) -> None:
        raise RuntimeError("a checkpoint is being saved")

    dist.all_reduce = refuse
    response = _reference(state_dict, **kwargs)
    _upload(response).add_done_callback(lambda _: setattr(dist, "all_reduce", all_reduce))
    return response


class _Apart(_NoCopy):
    def __init__(self, options: Any) -> None:
        """Options change nothing here."""

    def stage(self, state_dict: Any) -> Any:
        return {key: item.clone() for key, item in state_dict.items()}


class _ReferringWriter(control.Writer):
    """A writer that calls itself a stager."""

    _synchronize_after_execute = False
    should_synchronize_after_execute = False

    def stage(self, state_dict: Any) -> Any:
        return dict(state_dict)

    def synchronize_staging(self) -> None:
        """Nothing goes on in the background."""

    def close(self) -> None:
        """Nothing is held."""


class _OneThreadWriter(control.Writer):
    """Keeps a connection that belongs to the thread that opened it."""

    def __init__(self, checkpoint_id: Any) -> None:
        super().__init__(checkpoint_id)
        self._owner = threading.get_ident()

    def write_data(self, plan: Any, planner: Any) -> Any:
        if threading.get_ident() != self._owner:
            raise RuntimeError("the connection was made in another thread")
        return super().write_data(plan, planner)


class _Telling(Tap):
    """A writer that tells when its data is written."""

    def __init__(self, writer: Any, written: Future[Any]) -> None:
        super().__init__(writer)
        self._written = written

    def write_data(self, plan: Any, planner: Any) -> Any:
        future = self._inner.write_data(plan, planner)
        self._written.set_result(None)
        return future


@_like_reference
def _early(state_dict: Any, **kwargs: Any) -> Any:
    written: Future[Any] = Future()
    _reference(state_dict, **{**kwargs, "storage_writer": _Telling(kwargs["storage_writer"], written)})
    return written


returns_one_future_for_late_staging = engine(breaks=["ASYNC-01"], async_save=_one_future)
copies_no_values = engine(breaks=["ASYNC-02", "ASYNC-17"], async_save=_no_copy)
stages_into_the_same_buffers = engine(breaks=["ASYNC-03"], utilities={"DefaultStager": _SameBuffers})
drops_errors_of_uploads = engine(breaks=["ASYNC-04"], async_save=_drops_errors)
puts_early_errors_into_the_future = engine(breaks=["ASYNC-05"], async_save=_late_errors)
says_staging_went_well = engine(breaks=["ASYNC-06"], async_save=_went_well)
fails_in_silence = engine(breaks=["ASYNC-07", "ASYNC-09"], async_save=_silent)
saves_in_a_daemon_thread = engine(breaks=["ASYNC-08"], async_save=_daemon)
narrows_numbers_in_its_process = engine(breaks=["ASYNC-11"], async_save=_narrows)
gives_its_process_up_for_good = engine(breaks=["ASYNC-12"], async_save=_gives_up)
wants_a_group_for_its_process = engine(breaks=["ASYNC-13"], async_save=_wants_group)
keeps_the_first_group_for_its_process = engine(breaks=["ASYNC-14"], async_save=_first_group_only)
closes_stagers_of_the_caller = engine(breaks=["ASYNC-15"], async_save=_closes)
keeps_what_it_staged = engine(breaks=["ASYNC-16"], async_save=_keeps)
does_not_wait_for_staging = engine(breaks=["ASYNC-18"], async_save=_hasty)
always_stages_by_itself = engine(breaks=["ASYNC-19"], async_save=_by_itself)
starts_its_process_without_an_address = engine(breaks=["ASYNC-20"], offers=("drop_in",))
saves_the_latest_state_for_all = engine(breaks=["ASYNC-21"], async_save=_saves_latest)
refuses_collectives_while_it_saves = engine(breaks=["ASYNC-22"], async_save=_exclusive)
copies_every_name_apart = engine(breaks=["ASYNC-23"], utilities={"DefaultStager": _Apart})
stages_by_reference_in_the_writer = storage(breaks=["ASYNC-24"], writer=_ReferringWriter)
works_in_one_thread_only = storage(breaks=["ASYNC-25"], writer=_OneThreadWriter)
completes_before_the_commit = engine(breaks=["ASYNC-26"], async_save=_early)
