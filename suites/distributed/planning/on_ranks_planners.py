"""Planners that users write or switch on: caching of plans, and spreading of replicated items over the ranks."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.faults.noting import Notes
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.sharding import Placer, blanked, own_groups, pieces
from dcp_conformance.harness.states.values import coded, pattern
from dcp_conformance.harness.subject import engine_calls
from dcp_conformance.harness.subject.session import Session
from dcp_conformance.suites.distributed.planning.on_ranks_global_plans import Written, save_noted, written


def _caching(session: Session, name: str) -> Any:
    """Make a class of caching default planners under a name of its own, so that no other case shares its cache.

    None where the planner has no such option.
    """
    base = session.tool("DefaultSavePlanner")
    if "enable_plan_caching" not in inspect.signature(base).parameters or not session.takes("save", "planner"):
        return None
    kind = type(f"{name}-{session.spec.place}", (base,), {})
    return lambda: kind(enable_plan_caching=True)


def changed_states(session: Session) -> list[Difference] | None:
    """Save five states in turn with one plan cache and compare each after a load; None where no plans are cached.

    Each differs from the one before in one thing: values, dtype, nesting under the same flat names, shape, keys.
    """
    planner = _caching(session, "changing")
    if planner is None:
        return None
    found = []
    for step, state in enumerate(_states(session)):
        checkpoint_id = session.new_id(f"step{step}")
        session.save(_copied(state), checkpoint_id, planner=planner())
        target = _emptied(state)
        session.load(target, checkpoint_id)
        found += differences(state, target, key=f"step{step}")
        found += _described(session, checkpoint_id, state, f"metadata of step{step}")
    return found


def _states(session: Session) -> list[dict[str, Any]]:
    def tensor(step: int, shape: tuple[int, ...] = (6,), dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return pattern("x", shape, dtype, version=step).to(session.device)

    return [
        {"x": {"a": tensor(0), "b": tensor(1)}},
        {"x": {"a": tensor(2), "b": tensor(3)}},
        {"x": {"a": tensor(4, dtype=torch.float64), "b": tensor(5)}},
        {"x.a": tensor(6, dtype=torch.float64), "x": {"b": tensor(7)}},
        {"x.a": tensor(8, (2, 3)), "x": {"b": tensor(9)}},
        {"x.a": tensor(10, (2, 3)), "x": {"c": tensor(11)}},
    ]


def _copied(state: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copied(item) if isinstance(item, Mapping) else item.clone() for key, item in state.items()}


def _emptied(state: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _emptied(item) if isinstance(item, Mapping) else torch.zeros_like(item) for key, item in state.items()}


def _described(session: Session, checkpoint_id: Any, state: Mapping[str, Any], key: str) -> list[Difference]:
    """Tell whether the stored metadata says of each tensor what it is and where it belongs."""
    if session.storage.reader is None:
        return []
    metadata, found = session.reader(checkpoint_id).read_metadata(), []
    # META-12 asks for planner data; here it is compared where there is any, as a reader that has none keeps no paths.
    paths = metadata.planner_data or {}
    for path, tensor in _paths(state):
        name = ".".join(path)
        entry = metadata.state_dict_metadata[name]
        expected = (str(tensor.dtype), tuple(tensor.shape), path)
        stored = (str(entry.properties.dtype), tuple(entry.size), tuple(paths.get(name, path if not paths else ())))
        if stored != expected:
            found.append(Difference(f"{key}: {name}", (), str(expected), str(stored)))
    return found


def _paths(state: Mapping[str, Any], above: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], torch.Tensor]]:
    found: list[tuple[tuple[str, ...], torch.Tensor]] = []
    for key, item in state.items():
        found += _paths(item, (*above, key)) if isinstance(item, Mapping) else [((*above, key), item)]
    return found


def metadata_of_earlier_save(session: Session) -> list[str] | None:
    """Report what the metadata returned by a save says otherwise after later saves with the same cache.

    None without one.
    """
    planner = _caching(session, "keeping")
    if planner is None:
        return None
    states = _states(session)
    first = session.save(_copied(states[0]), session.new_id("step0"), planner=planner())
    at_once = _said(first)
    for step in (1, 2):
        session.save(_copied(states[step]), session.new_id(f"step{step}"), planner=planner())
    later = _said(first)
    return [
        f"{name} was {at_once.get(name)} and is {later.get(name)}"
        for name in at_once | later
        if at_once.get(name) != later.get(name)
    ]


def _said(metadata: Any) -> dict[str, str]:
    entries = {name: repr(entry) for name, entry in metadata.state_dict_metadata.items()}
    paths = {f"path of {name}": repr(path) for name, path in (metadata.planner_data or {}).items()}
    return {
        **entries,
        **paths,
        "storage_meta": repr(metadata.storage_meta),
        "storage_data": repr(metadata.storage_data),
    }


def save_after_failure(session: Session, phase: str) -> tuple[Attempt, Attempt, list[Difference]] | None:
    """With one plan cache: how a save with a fault on the last rank ended, how the next ended, and what it stored.

    None where no plans are cached.
    """
    planner = _caching(session, f"failing-{phase}")
    if planner is None:
        return None
    fault = Fault(phase=phase, ranks=(0,) if phase in ("prepare_global_plan", "finish") else (session.world_size - 1,))
    failed = session.attempt(
        session.save, _own(session, 1), session.new_id("failed"), planner=planner(), faults=(fault,)
    )
    later = session.attempt(session.save, _own(session, 2), session.new_id("later"), planner=planner())
    target = {key: torch.zeros_like(item) for key, item in _own(session, 2).items()}
    if later.ok:
        session.load(target, session.new_id("later"))
    return failed, later, differences(_own(session, 2), target)


def _own(session: Session, version: int) -> dict[str, Any]:
    own = coded(session.rank, (8,), version=version).to(session.device)
    return {f"own{session.rank}": own, "common": coded(9, (8,), version=version).to(session.device)}


def spread_by_planner(session: Session) -> tuple[Written | None, list[Difference]]:
    """Save through the planner that torch's documentation gives for replicated models.

    Returns the write results, as the coordinator saw them, and what a load found.
    """
    if not session.takes("save", "planner"):
        session.excuse("the engine takes no planner")
    state = {f"w{key}": coded(key, (64,), version=1).to(session.device) for key in range(8)}
    notes = Notes()
    save_noted(session, dict(state), "spread", notes, planner=_balancing(session.tool("DefaultSavePlanner"))())
    target = {key: torch.zeros_like(item) for key, item in state.items()}
    session.load(target, session.new_id("spread"))
    return written(notes), differences(state, target)


def _balancing(base: Any) -> Any:
    class Balancing(base):  # type: ignore[misc]  # the class is known only at run time
        """Gives the replicated items of rank 0 out in turn, as in the documentation of SavePlanner."""

        def create_global_plan(self, all_plans: list[Any]) -> Any:
            turns = itertools.cycle(range(len(all_plans)))
            owner = {item.index: next(turns) for item in all_plans[0].items}
            shared = [
                replace(plan, items=[item for item in plan.items if owner[item.index] == rank])
                for rank, plan in enumerate(all_plans)
            ]
            return super().create_global_plan(shared)

    return Balancing


class _NoHints:
    """A planner whose items carry no index hints; in all else the one that it is given."""

    def __init__(self, planner: Any) -> None:
        self._planner = planner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._planner, name)

    def create_global_plan(self, all_plans: Any) -> Any:
        """See torch's planner."""
        plans, metadata = self._planner.create_global_plan(all_plans)
        return [replace(plan, items=[_unhinted(item) for item in plan.items]) for plan in plans], metadata


def _unhinted(item: Any) -> Any:
    return replace(item, index=replace(item.index, index=None))


def several_without_hints(session: Session) -> list[Difference]:
    """Save three shards of one tensor on each rank by a planner that gives no hints, and load them again."""
    from torch.distributed._shard import sharded_tensor

    session.needs_arguments("save", ["planner"])
    count, checkpoint_id = 3 * session.world_size, session.new_id()

    def sharded(version: int) -> Any:
        shards = [
            sharded_tensor.Shard(
                coded(place, (4,), version=version),
                sharded_tensor.ShardMetadata([4 * place], [4], f"rank:{session.rank}/cpu"),
            )
            for place in range(session.rank, count, session.world_size)
        ]
        return sharded_tensor.init_from_local_shards(shards, 4 * count)

    session.save({"t": sharded(1)}, checkpoint_id, planner=_NoHints(engine_calls.planner(session, "Save")))
    target = {"t": sharded(2)}
    session.load(target, checkpoint_id)
    return differences(pieces(sharded(1)), pieces(target["t"]), key="t")


def caching_of_shards(session: Session) -> list[Difference] | None:
    """Make two saves of a distributed tensor with one plan cache, other values each: what the second stored."""
    planner = _caching(session, "shards")
    if planner is None:
        return None
    with own_groups():
        placer, ranks = Placer(session.device), tuple(range(session.world_size))
        for step in (1, 2):
            whole = coded(0, (7, 2), version=step)
            state = {"t": placer.distributed(whole, ranks, ["S0"])}
            session.save(state, session.new_id(f"shards{step}"), planner=planner())
        target = {"t": blanked(placer.distributed(whole, ranks, ["S0"]))}
        session.load(target, session.new_id("shards2"))
        return differences(pieces(state["t"]), pieces(target["t"]), key="t")
