"""The ranks that work together on one operation, and the three ways in which they run a guarded step.

``together``    every rank runs a function; every rank gets all results.
``plan``        every rank runs a local function, the coordinator runs a central one over all results,
                every rank gets its own part back.
``commit``      as ``plan``, but every rank gets the same result.

In each of them a failure of any kind on any rank ends the step on all ranks with the same ``CheckpointException``,
and no rank is left waiting: only bytes that were pickled beforehand go through a collective, so neither an exception
nor a plan that cannot be pickled can break it half way.
"""

from __future__ import annotations

import contextlib
import contextvars
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch.distributed as dist

from dcp_conformance.reference_impl.ranks.envelopes import Envelope, checkpoint_exception, release_frames, seal
from dcp_conformance.reference_impl.ranks.roll_call import RollCall

T = TypeVar("T")
R = TypeVar("R")

#: Name of the step in which the checkpoint becomes readable. Once it began, data may already be referenced.
FINISH = "finish"


@dataclass
class Outcome(Generic[T]):
    """What a step made of one or all ranks: a value, or the failures by rank."""

    step: str
    value: T | None = None
    failures: dict[int, Envelope] | None = None
    #: The original exception of this rank; never sent.
    error: BaseException | None = None

    def packed(self) -> bytes:
        # Without `error`: what travels of it is in the envelopes.
        return pickle.dumps((self.step, self.value, self.failures))


@dataclass(frozen=True)
class Crew:
    """The ranks of one operation. ``rank`` and ``coordinator`` are ranks within the group."""

    rank: int
    size: int
    coordinator: int
    group: dist.ProcessGroup | None
    #: Without collectives a rank raises its own error, unwrapped, and waits for nobody.
    independent: bool = False

    @classmethod
    def form(cls, group: dist.ProcessGroup | None, *, no_dist: bool, coordinator: int = 0) -> Crew:
        """Return the crew of an operation; one process on its own without a process group or with ``no_dist``.

        Raises ValueError where this process is not in ``group``.
        """
        if no_dist or not dist.is_available() or not dist.is_initialized():
            return cls(rank=0, size=1, coordinator=0, group=None)
        rank, size = dist.get_rank(group), dist.get_world_size(group)
        # torch answers -1; a rank outside would enter collectives that nobody runs with it.
        if rank < 0:
            raise ValueError("this rank is not in the process group it was given")
        return cls(rank=rank, size=size, coordinator=coordinator, group=group)

    def alone(self) -> Crew:
        """Return this rank as a crew by itself, keeping its rank: ``use_collectives=False``."""
        return Crew(rank=self.rank, size=1, coordinator=self.rank, group=self.group, independent=True)

    @property
    def is_coordinator(self) -> bool:
        return self.rank == self.coordinator

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """While active, ``current_crew`` returns this crew (storage that runs collectives itself needs it)."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    # -- the guarded steps ---------------------------------------------------------------------------------------

    def together(self, step: str, local: Callable[[], T]) -> list[T]:
        """Run ``local`` on every rank; all results in rank order."""
        if self.independent:
            return [local()]
        outcomes = self.outcomes(step, local)
        self.check(step, outcomes)
        return [outcome.value for outcome in outcomes]  # type: ignore[misc]

    def outcomes(self, step: str, local: Callable[[], T]) -> list[Outcome[T]]:
        """Run ``local`` on every rank; what it did on each, failures included, in rank order."""
        mine = self._attempt(step, local)
        if self.size == 1:
            return [mine]
        packed: list[Any] = [None] * self.size
        mine, own = self._pack(mine)
        with self._talking(step):
            dist.all_gather_object(packed, own, group=self.group)
        return [mine if rank == self.rank else self._unpack(step, data, rank) for rank, data in enumerate(packed)]

    def check(self, step: str, outcomes: list[Outcome[T]]) -> None:
        """Raise the merged CheckpointException if any outcome is a failure."""
        failed = _merged(outcomes)
        if failed:
            own = next((outcome.error for outcome in outcomes if outcome.error is not None), None)
            raise checkpoint_exception(step, failed, self.rank, own)

    def plan(self, step: str, local: Callable[[], T], central: Callable[[list[T]], list[R]]) -> R:
        """Run ``local`` everywhere, ``central`` on the coordinator; this rank's part of its result."""
        if self.independent:
            return self._one_each(central([local()]))[0]
        mine = self._attempt(step, local)
        gathered = self._gather(step, mine)
        replies: list[Outcome[R]] | None = None
        if gathered is not None:
            decided = self._decide(step, gathered, lambda parts: self._one_each(central(parts)))
            parts = decided.value if decided.failures is None else None
            replies = [
                Outcome(step, parts[rank] if parts is not None else None, decided.failures, decided.error)
                for rank in range(self.size)
            ]
        return self._accept(self._scatter(step, replies), mine)

    def commit(
        self,
        step: str,
        local: Callable[[], T],
        central: Callable[[list[T]], R],
        took_effect: Callable[[], bool] = lambda: True,
    ) -> R:
        """Run ``local`` everywhere and then ``central`` on the coordinator; its result on every rank.

        A failure of ``central`` is reported under the step name ``FINISH``, unless the coordinator finds by
        ``took_effect`` that it changed nothing. So is a broken connection: nobody knows then.
        """
        if self.independent:
            return central([local()])
        mine = self._attempt(step, local)
        # For a rank that only sends, what comes next is the commit: if the line breaks from here on, it cannot know
        # whether it happened.
        gathered = self._gather(step if self.is_coordinator else FINISH, mine)
        decided = None if gathered is None else self._decide(step, gathered, central)
        if decided is not None and decided.error is not None and took_effect():
            decided.step = FINISH
        return self._accept(self._broadcast(FINISH, decided), mine)

    # -- how they are made ---------------------------------------------------------------------------------------

    def _attempt(self, step: str, function: Callable[[], T]) -> Outcome[T]:
        try:
            return Outcome(step, value=function())
        except BaseException as error:  # KeyboardInterrupt and SystemExit are failures of this rank like any other
            return self._failed(step, error)

    def _failed(self, step: str, error: BaseException, rank: int | None = None) -> Outcome[Any]:
        # Sealed first: the envelope needs the frames that are released next.
        envelope = seal(error)
        release_frames(error)
        return Outcome(step, failures={self.rank if rank is None else rank: envelope}, error=error)

    def _decide(
        self,
        step: str,
        gathered: list[Outcome[T]],
        central: Callable[[list[T]], R],
    ) -> Outcome[R]:
        """On the coordinator: the merged failures of the ranks, or what ``central`` makes of their values."""
        failed = _merged(gathered)
        if failed:
            return Outcome(step, failures=failed)
        values: list[Any] = [outcome.value for outcome in gathered]
        return self._attempt(step, lambda: central(values))

    def _accept(self, decided: Outcome[R], mine: Outcome[Any]) -> R:
        if decided.failures:
            raise checkpoint_exception(decided.step, decided.failures, self.rank, mine.error or decided.error)
        return decided.value  # type: ignore[return-value]

    def _one_each(self, parts: list[R]) -> list[R]:
        if len(parts) != self.size:
            raise ValueError(f"global planning returned {len(parts)} plans for {self.size} ranks")
        return parts

    # -- collectives ---------------------------------------------------------------------------------------------

    @property
    def _source(self) -> int:
        """The coordinator's rank in the default group, which is how torch's collectives name it."""
        return self.coordinator if self.group is None else dist.get_global_rank(self.group, self.coordinator)

    def _gather(self, step: str, mine: Outcome[T]) -> list[Outcome[T]] | None:
        if self.size == 1:
            return [mine]
        mine, own = self._pack(mine)
        packed: list[Any] | None = [None] * self.size if self.is_coordinator else None
        with self._talking(step):
            dist.gather_object(own, packed, dst=self._source, group=self.group)
        if packed is None:
            return None
        return [mine if rank == self.rank else self._unpack(step, data, rank) for rank, data in enumerate(packed)]

    def _scatter(self, step: str, replies: list[Outcome[R]] | None) -> Outcome[R]:
        if self.size == 1:
            assert replies is not None
            return replies[0]
        packed: list[Any] | None = None
        if replies is not None:
            done = [self._pack(reply) for reply in replies]
            # One reply that cannot be pickled fails the step on all ranks, or the others would go on without the one.
            broken = next((reply for reply, _ in done if reply.failures), None)
            replies, packed = zip(*([self._pack(broken)] * self.size if broken else done), strict=True)  # type: ignore[assignment]
        received: list[Any] = [None]
        with self._talking(step):
            dist.scatter_object_list(received, list(packed) if packed else None, src=self._source, group=self.group)
        return replies[self.rank] if replies is not None else self._unpack(step, received[0], self.rank)

    def _broadcast(self, step: str, decided: Outcome[R] | None) -> Outcome[R]:
        if self.size == 1:
            assert decided is not None
            return decided
        box: list[Any] = [None]
        if decided is not None:
            decided, box[0] = self._pack(decided)
        with self._talking(step):
            dist.broadcast_object_list(box, src=self._source, group=self.group)
        return decided if decided is not None else self._unpack(step, box[0], self.rank)

    def _pack(self, outcome: Outcome[T]) -> tuple[Outcome[T], bytes]:
        """Return an outcome and its bytes; one whose value cannot be pickled turns into a failure of this rank."""
        try:
            return outcome, outcome.packed()
        except BaseException as error:
            # A failure always packs: an envelope is made of text, and its pickle was tried before.
            failed = self._failed(outcome.step, error)
            return failed, failed.packed()

    def _unpack(self, step: str, data: bytes, sender: int) -> Outcome[Any]:
        try:
            return Outcome(*pickle.loads(data))
        except BaseException as error:
            return self._failed(step, error, sender)

    @contextlib.contextmanager
    def _talking(self, step: str) -> Iterator[None]:
        """Turn a collective that fails (a peer died, the group timed out) into a CheckpointException.

        It names the ranks that are missing, or this one where nobody knows who is.
        """
        roll_call = RollCall(self.group, self.rank, self.size)
        # Before the collective: who has signed came here, and who has not is missing.
        entered = roll_call.sign()
        try:
            yield
        except Exception as error:
            own = self._failed(step, error).failures
            failed = {rank: seal(missing) for rank, missing in roll_call.missing(entered, error).items()} or own
            assert failed is not None
            raise checkpoint_exception(step, failed, self.rank, error) from None


_current: contextvars.ContextVar[Crew | None] = contextvars.ContextVar("reference_impl_crew", default=None)


def current_crew() -> Crew | None:
    """Return the crew of the operation that this thread is in, or None outside of one."""
    return _current.get()


def _merged(outcomes: list[Outcome[T]]) -> dict[int, Envelope]:
    failed: dict[int, Envelope] = {}
    for outcome in outcomes:
        failed.update(outcome.failures or {})
    return failed
