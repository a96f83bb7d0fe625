"""Saving in the background, from a staged copy.

Saves on one process group take turns in the order in which they were called, so that the collectives of two of them
never mix. The thread is not a daemon: a process that ends normally finishes its saves first.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist

from dcp_conformance.reference_impl.engine.detection import choose_writer
from dcp_conformance.reference_impl.engine.observe import logged, logger
from dcp_conformance.reference_impl.engine.save import SaveRun, turn_key
from dcp_conformance.reference_impl.engine.staging import AsyncStager, DefaultStager, StagingOptions
from dcp_conformance.reference_impl.interchange import (
    AsyncCheckpointerType,
    AsyncSaveResponse,
    Metadata,
    SavePlanner,
    StateDict,
    StorageWriter,
)
from dcp_conformance.reference_impl.ranks.crew import Crew
from dcp_conformance.reference_impl.ranks.envelopes import release_frames, seal
from dcp_conformance.reference_impl.ranks.turns import Turn
from dcp_conformance.reference_impl.values.stateful_tree import require_mapping, unwrapped


def async_save(
    state_dict: StateDict,
    *,
    checkpoint_id: str | os.PathLike[str] | None = None,
    storage_writer: StorageWriter | None = None,
    planner: SavePlanner | None = None,
    process_group: dist.ProcessGroup | None = None,
    async_checkpointer_type: AsyncCheckpointerType = AsyncCheckpointerType.THREAD,
    async_stager: AsyncStager | None = None,
    no_dist: bool = False,
    use_collectives: bool = True,
) -> Future[Metadata] | AsyncSaveResponse:
    """Copy a state dict and save the copy in the background; the arguments are those of ``save``.

    Without ``async_stager`` a writer that is a stager stages; else a ``DefaultStager``, closed when the save ends.

    Returns:
        A future of the metadata; with a stager that returns a future, an ``AsyncSaveResponse``.

    Raises:
        AssertionError: where the process group has no backend for CPU tensors.
        Exception: whatever ``state_dict()`` or staging raised. Peers then get it as a CheckpointException by their
            futures, as they do for all that fails later.
    """
    crew = Crew.form(process_group, no_dist=no_dist)
    if not no_dist:
        _require_cpu_backend(process_group)
    # Before anything that can fail on one rank alone: the peers are about to wait for this rank.
    upload = _Upload(crew if use_collectives else crew.alone(), checkpoint_id, planner)
    own_stager: DefaultStager | None = None
    try:
        # Inside the try: a rank that refuses its input still has to tell the others.
        require_mapping(state_dict)
        upload.find_writer = _writer_finder(storage_writer, checkpoint_id, async_checkpointer_type)
        if async_stager is None and isinstance(storage_writer, AsyncStager):
            async_stager = storage_writer
        elif async_stager is None:
            async_stager = own_stager = DefaultStager(StagingOptions(False, False, False, False))
        # A stager of the caller's is the caller's to close.
        upload.on_end = own_stager.close if own_stager is not None else None
        # In the caller's thread, since `state_dict()` of a Stateful may run collectives and must see the values of now.
        staged = async_stager.stage(unwrapped(state_dict))
    except BaseException as error:
        upload.start_failed(error)
        if own_stager is not None:
            own_stager.close()
        raise
    upload.start(staged)
    if isinstance(staged, Future):
        # torch declares a future of None, and this one gives the metadata as that of the other branch does.
        return AsyncSaveResponse(_completion_of(staged), upload.future)  # type: ignore[arg-type]
    if async_stager.should_synchronize_after_execute:
        async_stager.synchronize_staging()
    return upload.future


#: What background saves without a process group take turns on.
_NO_GROUP = object()


@dataclass
class _Upload:
    """One save in a thread. Its place in the queue is taken when it is made, in the caller's thread."""

    crew: Crew
    checkpoint_id: Any
    planner: SavePlanner | None
    find_writer: Callable[[], StorageWriter] | None = None
    on_end: Callable[[], None] | None = None
    future: Future[Metadata] = field(default_factory=Future)

    def __post_init__(self) -> None:
        # Saves without collectives queue too, as they may share a writer, or a planner.
        self._turn = Turn(turn_key(self.crew) or _NO_GROUP)

    def start(self, staged: Future[StateDict] | StateDict) -> None:
        self._start(lambda: staged.result() if isinstance(staged, Future) else staged)

    def start_failed(self, error: BaseException) -> None:
        """Tell the peers, who are about to wait for this rank, that staging failed here."""
        # Nobody waits; the caller gets the error itself, and no thread is needed.
        if self.crew.size == 1:
            self._turn.end()
            return

        # A copy: the thread that raises it must not work on the traceback that the caller is about to see.
        copied = seal(error).open()[0]

        def fail() -> StorageWriter:
            raise copied

        self.find_writer = fail
        self._start(dict)

    def _start(self, find_state: Callable[[], StateDict]) -> None:
        # A future that runs cannot be cancelled: a save cancelled on one rank only would leave its peers in a
        # collective.
        self.future.set_running_or_notify_cancel()
        thread = threading.Thread(target=self._run, args=(find_state,), name="async_save", daemon=False)
        try:
            thread.start()
        except BaseException:
            self._turn.end()
            raise

    def _run(self, find_state: Callable[[], StateDict]) -> None:
        try:
            with self._turn, logged("async_save", self.checkpoint_id), self.crew.at_work():
                assert self.find_writer is not None
                metadata = SaveRun(
                    self.crew,
                    find_writer=self.find_writer,
                    find_state=find_state,
                    state_dict={},
                    planner=self.planner,
                ).run()
        except BaseException as error:
            # Nobody may ever look at the future, so the failure has to leave a trace here.
            logger.error("async_save failed: %s", error)
            release_frames(error)
            self._end()
            self.future.set_exception(error)
        else:
            self._end()
            self.future.set_result(metadata)

    def _end(self) -> None:
        if self.on_end is not None:
            with contextlib.suppress(Exception):  # the outcome of the save is what counts
                self.on_end()


def _writer_finder(
    writer: StorageWriter | None, checkpoint_id: Any, kind: AsyncCheckpointerType
) -> Callable[[], StorageWriter]:
    # An id alone is looked up now: a relative path means the place that it names at the call.
    found = choose_writer(None, checkpoint_id) if writer is None and checkpoint_id else None

    def find() -> StorageWriter:
        chosen = found if found is not None else choose_writer(writer, checkpoint_id)
        if kind is AsyncCheckpointerType.PROCESS:
            from dcp_conformance.reference_impl.storage.process_writer import ProcessWriter

            return ProcessWriter(chosen)
        return chosen

    return find


def _completion_of(staged: Future[StateDict]) -> Future[None]:
    completion: Future[None] = Future()

    def copy_outcome(done: Future[StateDict]) -> None:
        # `exception()` of a cancelled future raises, and in a callback nobody would see that.
        error = done.exception() if not done.cancelled() else RuntimeError("staging was cancelled")
        if error is None:
            completion.set_result(None)
        else:
            completion.set_exception(error)

    staged.add_done_callback(copy_outcome)
    return completion


def _require_cpu_backend(process_group: dist.ProcessGroup | None) -> None:
    if not dist.is_available() or not dist.is_initialized():
        return
    group: Any = process_group if process_group is not None else dist.group.WORLD
    # Collectives of the background thread go over the CPU: on the accelerator they would queue among those of training.
    if torch.device("cpu") not in group._device_types:
        raise AssertionError(
            "async_save needs a CPU backend in the process group: initialise it with 'cpu:gloo,cuda:nccl'"
        )
