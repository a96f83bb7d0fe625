"""Bugs in how failures are told: to the wrong ranks, in the wrong words, too late, or not at all."""

from __future__ import annotations

import contextlib
import functools
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist

from dcp_conformance import reference_impl
from dcp_conformance.harness import control
from dcp_conformance.reference_impl import CheckpointException
from dcp_conformance.reference_impl.errors import RankMissingError
from dcp_conformance.reference_impl.ranks import crew, envelopes
from tests.mutants.making import Tap, engine, storage

Call = Callable[..., Any]


def _calls(change: Callable[[Call], Call]) -> dict[str, Call]:
    """Save and load of the reference, both changed in the same way."""
    return {name: functools.wraps(call)(change(call)) for name, call in _REFERENCE.items()}


_REFERENCE: dict[str, Call] = {"save": reference_impl.save, "load": reference_impl.load}


def _rank(arguments: dict[str, Any]) -> int:
    return dist.get_rank(arguments.get("process_group")) if dist.is_initialized() else 0


def _retold(retell: Callable[[CheckpointException, int], BaseException | None]) -> Callable[[Call], Call]:
    """A call whose CheckpointException, on this rank, becomes another exception, or (None) no exception at all."""

    def change(call: Call) -> Call:
        def changed(*args: Any, **kwargs: Any) -> Any:
            try:
                return call(*args, **kwargs)
            except CheckpointException as error:
                other = retell(error, _rank(kwargs))
                if other is not None:
                    raise other from None
            return None

        return changed

    return change


def _only_own(error: CheckpointException, rank: int) -> BaseException | None:
    return error if rank in error.failures else None


def _first_only(error: CheckpointException, rank: int) -> BaseException:
    first = min(error.failures)
    return CheckpointException(error.args[0], {first: error.failures[first]})


def _with_inner(error: CheckpointException, change: Callable[[BaseException], BaseException]) -> CheckpointException:
    return CheckpointException(error.args[0], {rank: (change(e), trace) for rank, (e, trace) in error.failures.items()})


def _as_runtime_errors(error: CheckpointException, rank: int) -> BaseException:
    return _with_inner(error, lambda inner: RuntimeError(str(inner)))


def _as_of_elsewhere(error: CheckpointException, rank: int) -> BaseException:
    return error if rank == 0 else _with_inner(error, lambda inner: type(inner)(f"on another rank: {inner}"))


def _bare(error: CheckpointException, rank: int) -> BaseException:
    return error if dist.is_initialized() else error.failures[0][0]


class _Quiet(CheckpointException):
    def __str__(self) -> str:
        return "the checkpoint failed"


def _quiet(error: CheckpointException, rank: int) -> BaseException:
    return _Quiet(error.args[0], error.failures)


def _no_interrupts(error: CheckpointException, rank: int) -> BaseException:
    return _with_inner(error, lambda inner: inner if isinstance(inner, Exception) else RuntimeError("interrupted"))


def _peers_may_leave(error: CheckpointException, rank: int) -> BaseException | None:
    lost = any("onnection" in str(inner) for inner, _ in error.failures.values())
    return None if lost else error


def _someone_is_late(error: CheckpointException, rank: int) -> BaseException | None:
    lost = any(isinstance(inner, RankMissingError) for inner, _ in error.failures.values())
    return TimeoutError("the other ranks did not come to this step in time") if lost else error


_failed = threading.local()


def _sulks(call: Call) -> Call:
    def changed(*args: Any, **kwargs: Any) -> Any:
        if getattr(_failed, "once", False):
            _failed.once = False
            raise RuntimeError("an earlier checkpoint failed")
        try:
            return call(*args, **kwargs)
        except CheckpointException:
            _failed.once = True
            raise

    return changed


@functools.wraps(reference_impl.save)
def _second_try(state_dict: Any, *, storage_writer: Any, **kwargs: Any) -> Any:
    try:
        return reference_impl.save(state_dict, storage_writer=storage_writer, **kwargs)
    except CheckpointException:
        reference_impl.save(state_dict, storage_writer=control.Writer(storage_writer._root), **kwargs)
        raise


class _Demanding(Tap):
    """A writer whose results are counted."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        future = self._inner.write_data(plan, planner)
        if len(future.wait()) < len(plan.items):
            raise RuntimeError("the writer kept back some results")
        return future


@functools.wraps(reference_impl.save)
def _demanding(state_dict: Any, *, storage_writer: Any, **kwargs: Any) -> Any:
    return reference_impl.save(state_dict, storage_writer=_Demanding(storage_writer), **kwargs)


def _naive_seal(error: BaseException) -> Any:
    pickle.dumps(error)
    return envelopes.seal(error)


def _naive(call: Call) -> Call:
    def changed(*args: Any, **kwargs: Any) -> Any:
        with mock.patch.object(crew, "seal", _naive_seal):
            return call(*args, **kwargs)

    return changed


@functools.wraps(reference_impl.save)
def _eager(state_dict: Any, **kwargs: Any) -> Any:
    gathered = {key: item.state_dict() if hasattr(item, "state_dict") else item for key, item in state_dict.items()}
    return reference_impl.save(gathered, **kwargs)


@functools.wraps(reference_impl.save)
def _barrier_at_the_end(state_dict: Any, **kwargs: Any) -> Any:
    metadata = reference_impl.save(state_dict, **kwargs)
    if not kwargs.get("use_collectives", True):
        dist.barrier(kwargs.get("process_group"))
    return metadata


@functools.wraps(reference_impl.load)
def _hands_out(state_dict: Any, **kwargs: Any) -> Any:
    try:
        return reference_impl.load(state_dict, **kwargs)
    except CheckpointException as error:
        if _rank(kwargs) not in error.failures:
            for item in state_dict.values():
                if hasattr(item, "load_state_dict"):
                    item.load_state_dict(item.state_dict())
        raise


class _Lenient(Tap):
    """A planner whose commit_tensor cannot fail."""

    def commit_tensor(self, *args: Any) -> None:
        with contextlib.suppress(Exception):
            self._inner.commit_tensor(*args)


@functools.wraps(reference_impl.load)
def _lenient(state_dict: Any, *, planner: Any = None, **kwargs: Any) -> Any:
    return reference_impl.load(state_dict, planner=None if planner is None else _Lenient(planner), **kwargs)


class _StoreError(Exception):
    def __init__(self, code: int, what: str) -> None:
        super().__init__(f"{code}: {what}")


@contextlib.contextmanager
def _store_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _StoreError(error.errno or 500, str(error)) from error


class _SdkReader(control.Reader):
    """Reports what is missing with the exception class of a cloud SDK."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        with _store_errors():
            return super().read_metadata(*args, **kwargs)


class _Deaf(Tap):
    """A planner that nobody can interrupt."""

    def resolve_data(self, item: Any) -> Any:
        try:
            return self._inner.resolve_data(item)
        except KeyboardInterrupt:
            return torch.zeros(item.tensor_data.chunk.sizes, dtype=item.tensor_data.properties.dtype)


class _DeafWriter(control.Writer):
    def write_data(self, plan: Any, planner: Any) -> Any:
        return super().write_data(plan, _Deaf(planner))


tells_only_the_failing_rank = engine(breaks=["FAIL-01"], **_calls(_retold(_only_own)))
names_one_failing_rank = engine(breaks=["FAIL-02"], **_calls(_retold(_first_only)))
retells_every_failure_as_runtime_error = engine(breaks=["FAIL-03"], **_calls(_retold(_as_runtime_errors)))
tells_ranks_different_texts = engine(breaks=["FAIL-06"], **_calls(_retold(_as_of_elsewhere)))
refuses_all_calls_after_a_failure = engine(breaks=["FAIL-13"], **_calls(_sulks))
commits_a_second_try_and_raises = engine(breaks=["FAIL-15"], save=_second_try)
wants_results_from_every_writer = engine(breaks=["FAIL-04"], save=_demanding, offers=("drop_in",))
unwraps_failures_of_a_single_process = engine(breaks=["FAIL-05"], **_calls(_retold(_bare)))
says_only_that_it_failed = engine(breaks=["FAIL-07"], **_calls(_retold(_quiet)))
takes_interrupts_for_its_own_errors = engine(breaks=["FAIL-08"], **_calls(_retold(_no_interrupts)))
sends_exceptions_as_they_are = engine(breaks=["FAIL-09", "FAIL-10"], **_calls(_naive))
gathers_state_before_the_first_step = engine(breaks=["FAIL-11"], save=_eager)
waits_after_independent_saves = engine(breaks=["FAIL-12", "PG-10"], save=_barrier_at_the_end)
takes_a_lost_peer_for_the_end = engine(breaks=["FAIL-14"], **_calls(_retold(_peers_may_leave)))
says_only_that_the_others_are_late = engine(breaks=["FAIL-20"], **_calls(_retold(_someone_is_late)))
hands_out_state_of_a_failed_load = engine(breaks=["FAIL-16"], load=_hands_out)
ignores_what_commit_tensor_raises = engine(breaks=["FAIL-17"], load=_lenient)
raises_errors_that_do_not_unpickle = storage(breaks=["FAIL-18"], reader=_SdkReader)
goes_on_after_ctrl_c = storage(breaks=["FAIL-19"], writer=_DeafWriter)
