"""What async_save returns, and what its futures tell: success, failure, and when."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed
from torch.distributed.checkpoint import StorageWriter
from torch.multiprocessing.reductions import StorageWeakRef

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.faults.proxy import interpose
from dcp_conformance.harness.faults.stagers import FailingStager, LateStager, PromptStager, futures
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session, into_subject

# How long a future may take here, in seconds: it is late when something is wrong.
PATIENCE = 10.0


def shape_of_response(session: Session, kind: str) -> tuple[bool, bool, bool, bool]:
    """Report what an async_save with a `prompt` or `late` stager returned.

    (has staging_completion, has upload_completion, the upload gave metadata that knows the key, staging completed).
    """
    if not session.takes("async_save", "async_stager"):
        session.excuse("the engine's async_save takes no stager")
    stager = LateStager() if kind == "late" else PromptStager()
    response = session.async_save(_state(session), session.new_id(), async_stager=stager)
    staged, uploaded = futures(response)
    metadata = into_subject(uploaded.result, PATIENCE)
    done = staged is None or session.attempt(into_subject, staged.result, PATIENCE).ok
    known = "t" in getattr(metadata, "state_dict_metadata", {})
    return hasattr(response, "staging_completion"), hasattr(response, "upload_completion"), known, done


def failure_reaches_the_future(session: Session, fault: Fault) -> Attempt:
    """Report how the upload future of an async_save with this fault ended."""
    response = session.async_save(_state(session), session.new_id(), faults=(fault,))
    return session.attempt(into_subject, futures(response)[1].result, PATIENCE)


class _Raising:
    def state_dict(self) -> dict[str, Any]:
        raise ValueError("injected by dcp-conformance in state_dict")

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Never called."""


def failing_call(session: Session, what: str) -> Attempt:
    """Report how the call itself ended when `what` (state_dict, stage) fails."""
    if what == "stage":
        if not session.takes("async_save", "async_stager"):
            session.excuse("the engine's async_save takes no stager")
        return session.attempt(
            session.async_save, _state(session), session.new_id(), async_stager=FailingStager("raised")
        )
    return session.attempt(session.async_save, {"s": _Raising()}, session.new_id())


def failing_staging(session: Session, how: str) -> tuple[Attempt | None, bool]:
    """Let staging fail in the future, and wait for both futures.

    Returns how staging_completion ended (None: the call itself raised or there is no such future), and whether the
    upload failed.
    """
    if not session.takes("async_save", "async_stager"):
        session.excuse("the engine's async_save takes no stager")
    try:
        response = session.async_save(_state(session), session.new_id(), async_stager=FailingStager(how))
    except BaseException:  # told by the call itself, which is as good
        return None, True
    staged, uploaded = futures(response)
    ended = None if staged is None else session.attempt(into_subject, staged.result, 2.0)
    return ended, not session.attempt(into_subject, uploaded.result, PATIENCE).ok


def load_as_soon_as_told(session: Session) -> list[Difference]:
    """Load with a new reader, alone, as soon as the upload future completes on this rank; finish is slow."""
    checkpoint_id, slow = session.new_id(), Fault(phase="finish", ranks=(0,), kind="delay", seconds=0.6)
    everything = {key: item for rank in range(session.world_size) for key, item in _own(rank).items()}
    into_subject(futures(session.async_save(_own(session.rank), checkpoint_id, faults=(slow,)))[1].result, PATIENCE)
    target = blank(everything)
    session.load(target, checkpoint_id, no_dist=True)
    return differences(everything, target)


def waited_for_in_reverse(session: Session) -> list[Difference]:
    """Make two saves on two groups, the first one slow, waited for in reverse."""
    groups = [session.new_group(30.0) for _ in range(2)]
    slow = Fault(phase="write_data", ranks=tuple(range(8)), kind="delay", seconds=0.4)
    ids = [session.new_id(f"save{number}") for number in range(2)]
    uploads = []
    for number, group in enumerate(groups):
        faults = (slow,) if number == 0 else ()
        state = _own(session.rank, version=number)
        uploads.append(futures(session.async_save(state, ids[number], faults=faults, process_group=group))[1])
    for upload in reversed(uploads):
        into_subject(upload.result, PATIENCE)
    found = []
    for number, checkpoint_id in enumerate(ids):
        target = blank(_own(session.rank))
        session.load(target, checkpoint_id)
        found += differences(_own(session.rank, version=number), target)
    return found


def train_meanwhile(session: Session) -> tuple[int, list[int]]:
    """All-reduce on one group while a save goes on in another; report how many, and those whose sum was wrong."""
    training, saving = session.new_group(30.0), session.new_group(30.0)
    slow = Fault(phase="write_data", ranks=tuple(range(8)), kind="delay", seconds=0.3)
    response = session.async_save(_own(session.rank), session.new_id(), faults=(slow,), process_group=saving)
    steps, wrong = 60, []
    for step in range(steps):
        value = torch.tensor([float(step)])
        into_subject(torch.distributed.all_reduce, value, group=training)
        if value.item() != step * session.world_size:
            wrong.append(step)
        time.sleep(0.005)
    into_subject(futures(response)[1].result, PATIENCE)
    return steps, wrong


def stager_reused(session: Session) -> list[Difference]:
    """Make two saves through one stager, the first still writing when the second stages; what differs in the first."""
    stager = session.stager()
    if stager is None:
        session.excuse("the engine exports no stager that could be passed twice")
    slow = Fault(phase="write_data", ranks=(0,), kind="delay", seconds=0.5)
    first, second, state = session.new_id("first"), session.new_id("second"), _state(session)
    one = futures(session.async_save(state, first, faults=(slow,), async_stager=stager))[1]
    state["t"].copy_(coded(1, (256,), version=2))
    two = futures(session.async_save(state, second, async_stager=stager))[1]
    into_subject(one.result, PATIENCE)
    into_subject(two.result, PATIENCE)
    stager.close()
    found = []
    for checkpoint_id, version in ((first, 1), (second, 2)):
        wanted = {"t": coded(1, (256,), version=version)}
        target = blank(wanted)
        session.load(target, checkpoint_id)
        found += differences(wanted, target)
    return found


def callers_stager(session: Session, fails: bool) -> tuple[list[str], list[str], list[str]]:
    """Report the calls of the caller's stager: before the call returned, until the upload ended, after another."""
    if not session.takes("async_save", "async_stager"):
        session.excuse("the engine's async_save takes no stager")
    stager = PromptStager(synchronize=True)
    faults = (Fault(phase="write_data", ranks=(0,)),) if fails else ()
    response = session.async_save(_state(session), session.new_id("first"), faults=faults, async_stager=stager)
    at_return = list(stager.calls)
    session.attempt(into_subject, futures(response)[1].result, PATIENCE)
    time.sleep(0.05)  # what is done when the future completes may be done just after
    at_end = list(stager.calls)
    into_subject(
        futures(session.async_save(_state(session), session.new_id("second"), async_stager=stager))[1].result, PATIENCE
    )
    return at_return, at_end, list(stager.calls)


class _StagedStorages:
    """Tap of a writer's write_data: remembers, weakly, the memory of the tensors that it is given."""

    def __init__(self) -> None:
        self.seen: list[StorageWeakRef] = []
        self.addresses: set[int] = set()

    def call(self, method: str, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        plan, planner = args
        return inner(plan, interpose(planner, ("resolve_data",), _Values(self)))


class _Values:
    def __init__(self, storages: _StagedStorages) -> None:
        self._storages = storages

    def call(self, method: str, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        value = inner(*args, **kwargs)
        if isinstance(value, torch.Tensor):
            storage = value.untyped_storage()
            self._storages.seen.append(StorageWeakRef(storage))  # type: ignore[no-untyped-call]
            self._storages.addresses.add(storage.data_ptr())
        return value


def staged_copy_after_upload(session: Session, fails: bool) -> tuple[int, int]:
    """Report how many pieces of staged memory the writer got, and how many are left after the upload.

    The state that was saved stays alive; the future does not. Nothing counts that is the state's own memory.
    """
    state = {"t": torch.ones(100_000), "u": torch.ones(1000)}
    tap, checkpoint_id = _StagedStorages(), session.new_id()
    faults = (Fault(phase="write_data", ranks=(0,), after=True),) if fails else ()
    writer = interpose(session.writer(checkpoint_id, faults=faults), ("write_data",), tap)
    if hasattr(writer, "stage"):
        writer = _NoStager(writer)
    response: Any = session.async_save(state, checkpoint_id, writer=writer)
    session.attempt(into_subject, futures(response)[1].result, PATIENCE)
    response = None
    own = {item.untyped_storage().data_ptr() for item in state.values()}
    if own & tap.addresses:
        return 0, 0
    deadline = time.monotonic() + 5.0
    while True:
        gc.collect()
        alive = sum(not reference.expired() for reference in tap.seen)  # type: ignore[no-untyped-call]
        if not alive or time.monotonic() > deadline:
            return len(tap.seen), alive
        time.sleep(0.05)


class _NoStager(StorageWriter):
    """A writer that can do all that another can, except stage: so that the engine makes a stager of its own."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        # Itself and no method around it: engines look at its signature for what it takes.
        self.set_up_storage_writer = writer.set_up_storage_writer  # type: ignore[method-assign]

    def reset(self, checkpoint_id: Any = None) -> None:
        self._writer.reset(checkpoint_id)

    def storage_meta(self) -> Any:
        return self._writer.storage_meta()

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        self._writer.set_up_storage_writer(is_coordinator, *args, **kwargs)

    def prepare_local_plan(self, plan: Any) -> Any:
        return self._writer.prepare_local_plan(plan)

    def prepare_global_plan(self, plans: Any) -> Any:
        return self._writer.prepare_global_plan(plans)

    def write_data(self, plan: Any, planner: Any) -> Any:
        return self._writer.write_data(plan, planner)

    def finish(self, metadata: Any, results: Any) -> None:
        self._writer.finish(metadata, results)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        return True


class _StagingWriter(_NoStager):
    """A writer that is a stager, and tells when it is used as one."""

    _synchronize_after_execute = False
    should_synchronize_after_execute = False

    def __init__(self, writer: Any) -> None:
        super().__init__(writer)
        self.stager = PromptStager()

    def stage(self, state_dict: dict[str, Any]) -> Any:
        return self.stager.stage(state_dict)

    def synchronize_staging(self) -> None:
        self.stager.synchronize_staging()

    def close(self) -> None:
        self.stager.close()


def writer_that_stages(session: Session) -> tuple[list[str], list[Difference]]:
    """Report what was called of a writer that is a stager when none was passed, and what differs after a load."""
    checkpoint_id, state = session.new_id(), _state(session)
    writer = _StagingWriter(session.writer(checkpoint_id))
    into_subject(futures(session.async_save(state, checkpoint_id, writer=writer))[1].result, PATIENCE)
    target = blank(state)
    session.load(target, checkpoint_id)
    return writer.stager.calls, differences(state, target)


def shared_memory_in_a_copy(session: Session) -> list[bool]:
    """Tell whether the default stager keeps memory shared: of tied weights, of equal views, of overlapping views."""
    from torch.distributed.checkpoint.staging import StagingOptions

    options = session.engine.utilities.get("StagingOptions", StagingOptions)
    stager = session.tool("DefaultStager")(options(False, False, False, False))
    base = coded(1, (64,), version=1)
    staged = stager.stage({"a": base, "b": base, "v": base[:8], "w": base[:8], "x": base[4:12]})
    stager.close()

    def start(key: str) -> int:
        return int(staged[key].untyped_storage().data_ptr())

    return [
        staged["a"].data_ptr() == staged["b"].data_ptr(),
        start("v") == start("w"),
        start("x") == start("v") == start("a"),
    ]


def _state(session: Session) -> dict[str, Any]:
    return {"t": coded(1, (256,), version=1)}


def _own(rank: int, version: int = 1) -> dict[str, Any]:
    return {f"own{rank}": coded(rank, (50,), version=version), "common": coded(99, (8,), version=version)}
