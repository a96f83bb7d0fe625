"""Saving: who does what, in which order, and how failures reach everybody."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch.distributed as dist

from dcp_conformance.reference_impl.engine.detection import UsageError, choose_writer
from dcp_conformance.reference_impl.engine.observe import logged
from dcp_conformance.reference_impl.interchange import (
    CheckpointException,
    Metadata,
    SavePlan,
    SavePlanner,
    StateDict,
    StorageWriter,
    WriteResult,
)
from dcp_conformance.reference_impl.planners.plan_save import DefaultSavePlanner
from dcp_conformance.reference_impl.ranks.calls import second_positional, set_up_save_planner, set_up_writer
from dcp_conformance.reference_impl.ranks.crew import FINISH, Crew, Outcome
from dcp_conformance.reference_impl.ranks.turns import Turn
from dcp_conformance.reference_impl.values.stateful_tree import require_mapping, unwrapped


@second_positional("storage_writer")
def save(
    state_dict: StateDict,
    *,
    checkpoint_id: str | os.PathLike[str] | None = None,
    storage_writer: StorageWriter | None = None,
    planner: SavePlanner | None = None,
    process_group: dist.ProcessGroup | None = None,
    no_dist: bool = False,
    use_collectives: bool = True,
) -> Metadata:
    """Save a state dict; each rank writes what it holds, and the checkpoint appears whole or not at all.

    Args:
        state_dict: names to values: tensors of any kind, Stateful objects, containers, anything that can be pickled.
        checkpoint_id: what the storage calls the checkpoint; for files a folder.
        storage_writer: where to; found by the id if None.
        planner: decides what is written by whom; ``DefaultSavePlanner`` if None.
        process_group: the ranks that save together; the default group if None.
        no_dist: save as one process, whatever groups exist.
        use_collectives: False makes each rank save alone, with metadata of its own, waiting for nobody.

    Returns:
        The metadata of the checkpoint, on every rank.

    Raises:
        CheckpointException: with the failing ranks and their exceptions, on every rank.
        RuntimeError: for an id that no storage accepts, or none at all.
    """
    crew = Crew.form(process_group, no_dist=no_dist)
    with logged("save", checkpoint_id), _turn(crew, use_collectives), crew.at_work():
        return SaveRun(
            crew if use_collectives else crew.alone(),
            find_writer=lambda: choose_writer(storage_writer, checkpoint_id),
            find_state=lambda: unwrapped(state_dict),
            state_dict=state_dict,
            planner=planner,
        ).run()


def save_state_dict(
    state_dict: StateDict,
    storage_writer: StorageWriter,
    process_group: dist.ProcessGroup | None = None,
    coordinator_rank: int = 0,
    no_dist: bool = False,
    planner: SavePlanner | None = None,
) -> Metadata:
    """Deprecated form of ``save``: always resets the writer, takes a coordinator, does not unwrap Stateful objects."""
    warnings.warn("save_state_dict is deprecated, use save", FutureWarning, stacklevel=2)
    crew = Crew.form(process_group, no_dist=no_dist, coordinator=0 if no_dist else coordinator_rank)

    def reset_writer() -> StorageWriter:
        storage_writer.reset()
        return storage_writer

    with logged("save_state_dict", None), _turn(crew, True), crew.at_work():
        return SaveRun(
            crew, find_writer=reset_writer, find_state=lambda: state_dict, state_dict=state_dict, planner=planner
        ).run()


@dataclass
class SaveRun:
    """One save. Steps: storage, plan (all ranks, then the coordinator), write (all ranks), finish (the coordinator)."""

    crew: Crew
    find_writer: Callable[[], StorageWriter]
    find_state: Callable[[], StateDict]
    #: What the caller passed, to be refused before storage is touched unless it is a mapping.
    state_dict: Any
    planner: SavePlanner | None = None
    writer: StorageWriter = field(init=False)
    metadata: Metadata | None = field(init=False, default=None)

    def run(self) -> Metadata:
        """Save, and take back what was written if it fails before the commit."""
        # Before the plan, so that nothing is unwrapped or written for a storage that does not exist.
        settle_storage(self.crew, self._set_up_storage)
        with self._undone_on_failure():
            plan = self.crew.plan("plan", self._plan_here, self._plan_for_all)
            return self.crew.commit("write", lambda: self._write(plan), self._finish, self._took_effect)

    def _set_up_storage(self) -> None:
        require_mapping(self.state_dict)
        self.writer = self.find_writer()

    def _plan_here(self) -> SavePlan:
        state = self.find_state()
        if self.planner is None:
            self.planner = DefaultSavePlanner()
        leads = self.crew.is_coordinator
        set_up_save_planner(self.planner, state, self.writer.storage_meta(), leads)
        set_up_writer(self.writer, is_coordinator=leads, rank=self.crew.rank, use_collectives=not self.crew.independent)
        return self.writer.prepare_local_plan(self.planner.create_local_plan())

    def _plan_for_all(self, plans: list[SavePlan]) -> list[SavePlan]:
        assert self.planner is not None
        # Not in torch's interface: a planner of somebody else is left to decide by itself what is complete.
        if hasattr(self.planner, "allow_incomplete"):
            self.planner.allow_incomplete = self.crew.independent
        plans, self.metadata = self.planner.create_global_plan(plans)
        return self.writer.prepare_global_plan(plans)

    def _write(self, plan: SavePlan) -> list[WriteResult]:
        assert self.planner is not None
        final = self.planner.finish_plan(plan)
        # Waited for here, inside the guarded step: a failure of the future is this rank's failure in "write".
        results: list[WriteResult] = self.writer.write_data(final, self.planner).wait()
        require_all_written(final, results)
        return results

    def _finish(self, results: list[list[WriteResult]]) -> Metadata:
        assert self.metadata is not None
        self.writer.finish(metadata=self.metadata, results=results)
        return self.metadata

    def _took_effect(self) -> bool:
        """Tell whether a failed finish may have committed all the same; only this package's writer can say no."""
        # Of any other writer it is not known, and then data must stay: a checkpoint without its data is worse than
        # rubbish.
        return bool(getattr(self.writer, "committed", True))

    @contextlib.contextmanager
    def _undone_on_failure(self) -> Iterator[None]:
        """Let the writer take back its data, where it can and where nothing can refer to it yet."""
        try:
            yield
        except BaseException as error:
            # After a commit, or where nobody knows, data may be referenced and has to stay.
            maybe_committed = isinstance(error, CheckpointException) and error.args[0] == FINISH
            discard = getattr(self.writer, "discard", None)
            if callable(discard) and not maybe_committed and not (self.crew.independent and self._took_effect()):
                discard()
            raise


def settle_storage(crew: Crew, set_up: Callable[[], None]) -> None:
    """Find and reset the storage on all ranks.

    Where every rank was given something unusable, each raises its own error: nobody waits, and the error is plainer.
    """
    if crew.independent:
        set_up()
        return
    outcomes: list[Outcome[None]] = crew.outcomes("storage", set_up)
    own = outcomes[crew.rank].error if crew.size > 1 else outcomes[0].error
    # On every rank, or one would raise what the caller expects and the others something else.
    if isinstance(own, (UsageError, TypeError)) and all(outcome.failures for outcome in outcomes):
        raise own
    crew.check("storage", outcomes)


def require_all_written(plan: SavePlan, results: list[WriteResult]) -> None:
    """Raise RuntimeError where a writer reports some, but not all, of the plan's items (a thread of it died)."""
    written = {result.index for result in results}
    missing = [item.index for item in plan.items if item.index not in written]
    # A storage that reports nothing may keep no such list; one that reports some and not all has lost a thread.
    if results and missing:
        raise RuntimeError(f"the storage reports no result for {missing[0].fqn!r} ({len(missing)} items are missing)")


def turn_key(crew: Crew) -> str | None:
    """Return what operations must take turns on: the process group. None where no collectives are run."""
    if crew.size == 1:
        return None
    group = crew.group if crew.group is not None else dist.group.WORLD
    return getattr(group, "group_name", "world")


def _turn(crew: Crew, use_collectives: bool) -> contextlib.AbstractContextManager[Any]:
    key = turn_key(crew) if use_collectives else None
    return contextlib.nullcontext() if key is None else Turn(key)
