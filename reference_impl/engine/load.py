"""Loading: who does what, in which order, and how failures reach everybody."""

from __future__ import annotations

import contextlib
import os
import pickle
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch.distributed as dist

from dcp_conformance.reference_impl.engine.detection import choose_reader
from dcp_conformance.reference_impl.engine.observe import logged
from dcp_conformance.reference_impl.engine.save import settle_storage, turn_key
from dcp_conformance.reference_impl.errors import (
    CorruptCheckpointError,
    DifferentCheckpointsError,
    UnknownVersionError,
)
from dcp_conformance.reference_impl.interchange import LoadPlan, LoadPlanner, Metadata, StateDict, StorageReader
from dcp_conformance.reference_impl.planners.plan_load import DefaultLoadPlanner
from dcp_conformance.reference_impl.ranks.calls import second_positional, set_up_reader, takes
from dcp_conformance.reference_impl.ranks.crew import Crew, Outcome
from dcp_conformance.reference_impl.ranks.turns import Turn
from dcp_conformance.reference_impl.values.stateful_tree import LoadTarget, require_mapping


@second_positional("storage_reader")
def load(
    state_dict: StateDict,
    *,
    checkpoint_id: str | os.PathLike[str] | None = None,
    storage_reader: StorageReader | None = None,
    planner: LoadPlanner | None = None,
    process_group: dist.ProcessGroup | None = None,
    no_dist: bool = False,
) -> None:
    """Load a checkpoint into the values of a state dict.

    Tensors are filled in place, whatever their layout was when they were saved; other values are replaced. Each
    Stateful object gets ``state_dict()`` before and ``load_state_dict()`` after all data has arrived on all ranks.

    Args:
        state_dict: the template, which is filled.
        checkpoint_id: what the storage calls the checkpoint; for files a folder.
        storage_reader: where from; found by the id if None.
        planner: decides what is read into what; ``DefaultLoadPlanner`` if None.
        process_group: the ranks that load together; the default group if None.
        no_dist: load as one process, whatever groups exist.

    Raises:
        CheckpointException: with the failing ranks and their exceptions, on every rank.
        RuntimeError: for an id that no storage accepts, or none at all.
    """
    crew = Crew.form(process_group, no_dist=no_dist)
    with logged("load", checkpoint_id), _turn(crew), crew.at_work():
        LoadRun(
            crew,
            find_reader=lambda: choose_reader(storage_reader, checkpoint_id),
            find_target=lambda: LoadTarget.of(state_dict),
            state_dict=state_dict,
            planner=planner,
        ).run()


def load_state_dict(
    state_dict: StateDict,
    storage_reader: StorageReader,
    process_group: dist.ProcessGroup | None = None,
    coordinator_rank: int = 0,
    no_dist: bool = False,
    planner: LoadPlanner | None = None,
) -> None:
    """Deprecated form of ``load``: always resets the reader, takes a coordinator, does not unwrap Stateful objects."""
    warnings.warn("load_state_dict is deprecated, use load", FutureWarning, stacklevel=2)
    load_plainly(
        state_dict,
        storage_reader,
        crew=Crew.form(process_group, no_dist=no_dist, coordinator=0 if no_dist else coordinator_rank),
        planner=planner,
    )


def load_plainly(
    state_dict: StateDict, storage_reader: StorageReader, *, crew: Crew, planner: LoadPlanner | None
) -> None:
    """Load into ``state_dict`` itself: nothing is unwrapped before or handed out afterwards."""

    def reset_reader() -> StorageReader:
        storage_reader.reset()
        return storage_reader

    with logged("load_state_dict", None), _turn(crew), crew.at_work():
        LoadRun(
            crew,
            find_reader=reset_reader,
            find_target=lambda: LoadTarget(original={}, state=state_dict),
            state_dict=state_dict,
            planner=planner,
        ).run()


def _turn(crew: Crew) -> contextlib.AbstractContextManager[Any]:
    key = turn_key(crew)
    return contextlib.nullcontext() if key is None else Turn(key)


@dataclass(frozen=True)
class Look:
    """What a rank found at the id: metadata (of which save), none, or something that cannot be read."""

    kind: str
    save: str | None = None


@dataclass
class LoadRun:
    """One load. Steps: storage, state, metadata (all ranks agree on which), plan, read, deliver."""

    crew: Crew
    find_reader: Callable[[], StorageReader]
    find_target: Callable[[], LoadTarget]
    #: What the caller passed, to be refused before storage is touched unless it is a mapping.
    state_dict: Any
    planner: LoadPlanner | None = None
    reader: StorageReader = field(init=False)
    target: LoadTarget | None = field(init=False, default=None)
    metadata: Metadata = field(init=False)
    #: Each rank reads metadata of its own (the checkpoint was saved with ``use_collectives=False``).
    rank_local: bool = field(init=False, default=False)

    def run(self) -> None:
        """Load. Nothing of the caller's changes before every rank has a plan for the same checkpoint."""
        settle_storage(self.crew, self._set_up_storage)
        first = self._agree_on_metadata("state_dict")
        read = self._plan_and_read()
        # An overwrite that commits during the load removes what the old metadata names: then the new one is loaded.
        if _data_is_gone(read) and self._agree_on_metadata("read_metadata") != first:
            read = self._plan_and_read()
        self.crew.check("read", read)
        # After the check on all ranks: no Stateful sees values on one rank while another has failed to read its own.
        self.crew.together("load_state_dict", self._state().deliver)

    def _set_up_storage(self) -> None:
        require_mapping(self.state_dict)
        self.reader = self.find_reader()

    # -- state and metadata --------------------------------------------------------------------------------------------

    def _agree_on_metadata(self, step: str) -> list[Look]:
        """Global metadata on all ranks; else, where no rank has it, each rank's own; else a failure on all ranks."""
        found = self.crew.together(step, self._look)
        if len(_saves(found)) > 1:  # perhaps only because a save committed between the looks of two ranks
            found = self.crew.together("read_metadata", self._look)
        # Only where every rank finds none: one that sees the global metadata has proof of a save of all ranks.
        self.rank_local = all(look.kind == _ABSENT for look in found)
        if self.rank_local:
            self.crew.together("read_metadata", self._read_own)
        elif any(look.kind != _FOUND for look in found):
            self.crew.together("read_metadata", self._raise_own_error)
        elif len(_saves(found)) > 1:
            self.crew.together("read_metadata", lambda: _refuse_different(found))
        return found

    def _look(self) -> Look:
        """Unwrap the template and look for global metadata; what went wrong with that is kept until all ranks know."""
        # Each rank unwraps before it looks, since `state_dict()` may run collectives that all must enter together.
        self._state()
        self._error: BaseException | None = None
        try:
            # On every rank and not by the coordinator alone: so a rank that cannot see the files is found before
            # anything is planned.
            self.metadata = self.reader.read_metadata()
            if not isinstance(self.metadata, Metadata):
                raise CorruptCheckpointError(f"the storage gave a {type(self.metadata).__name__} instead of metadata")
            return Look(_FOUND, _which_save(self.metadata))
        # Kept, not raised: alone it would leave the others in the next collective.
        except BaseException as error:
            self._error = error
            return Look(_ABSENT if takes(self.reader.read_metadata, "kwargs") and _may_be_absent(error) else _BROKEN)

    def _state(self) -> LoadTarget:
        """Return the template with its Stateful objects unwrapped, which happens once."""
        if self.target is None:
            self.target = self.find_target()
        return self.target

    def _raise_own_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _read_own(self) -> None:
        try:
            self.metadata = self.reader.read_metadata(rank=self.crew.rank)
        except Exception as error:
            if isinstance(self._error, FileNotFoundError):
                raise FileNotFoundError(f"{self._error}; nor of rank {self.crew.rank} alone: {error}") from None
            self._raise_own_error()

    # -- plan and data -------------------------------------------------------------------------------------------------

    def _plan_and_read(self) -> list[Outcome[None]]:
        plan = self._plan()
        return self.crew.outcomes("read", lambda: self._read(plan))

    def _plan(self) -> LoadPlan:
        if self.rank_local:
            # Together even though each plans alone: a failure of one has to end the load of all.
            return self.crew.together("plan", self._plan_alone)[self.crew.rank if self.crew.size > 1 else 0]
        return self.crew.plan("plan", lambda: self._plan_here(self.crew.is_coordinator), self._plan_for_all)

    def _plan_alone(self) -> LoadPlan:
        return self._plan_for_all([self._plan_here(True)])[0]

    def _plan_here(self, leads: bool) -> LoadPlan:
        if self.planner is None:
            self.planner = DefaultLoadPlanner()
        self.planner.set_up_planner(self._state().state, self.metadata, leads)
        set_up_reader(
            self.reader, self.metadata, is_coordinator=leads, rank=self.crew.rank, use_collectives=not self.rank_local
        )
        return self.reader.prepare_local_plan(self.planner.create_local_plan())

    def _plan_for_all(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        assert self.planner is not None
        return self.reader.prepare_global_plan(self.planner.create_global_plan(plans))

    def _read(self, plan: LoadPlan) -> None:
        assert self.planner is not None
        self.reader.read_data(self.planner.finish_plan(plan), self.planner).wait()


_FOUND, _ABSENT, _BROKEN = "found", "absent", "broken"


def _which_save(metadata: Metadata) -> str:
    """Return what tells a save from others: the id that its storage gave it, or else what it holds."""
    # torch's writer sets it too; metadata of older releases are compared by what they hold.
    save_id: str | None = getattr(metadata.storage_meta, "save_id", None)
    if save_id is not None:
        return save_id
    entries = sorted((name, repr(entry)) for name, entry in metadata.state_dict_metadata.items())
    return f"of {len(entries)} entries, {zlib.crc32(repr(entries).encode()):08x}"


def _saves(found: list[Look]) -> set[str]:
    """Return the different saves that ranks found."""
    return {look.save for look in found if look.save is not None}


def _refuse_different(found: list[Look]) -> None:
    seen = ", ".join(f"rank {rank} that of save {look.save}" for rank, look in enumerate(found))
    raise DifferentCheckpointsError(f"the ranks see different checkpoints under one id: {seen}")


def _data_is_gone(read: list[Outcome[None]]) -> bool:
    """Tell whether reading failed, and only in ways in which it fails while a checkpoint is replaced."""
    failures = [envelope for outcome in read for envelope in (outcome.failures or {}).values()]
    replaced = (FileNotFoundError.__name__, CorruptCheckpointError.__name__)
    return bool(failures) and all(envelope.base in replaced or envelope.qualname in replaced for envelope in failures)


def _may_be_absent(error: BaseException) -> bool:
    """Tell whether there may be no metadata at all.

    If it is there and damaged, that of single ranks must not stand in.
    """
    damage = (CorruptCheckpointError, UnknownVersionError, pickle.UnpicklingError, EOFError, UnicodeError, MemoryError)
    return isinstance(error, Exception) and not isinstance(error, damage)
