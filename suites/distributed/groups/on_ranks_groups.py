"""Save and load on groups of ranks: parts of the world, several at a time, or no group at all."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import torch
import torch.distributed

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.sharding import Placer
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session, into_subject

# A save or load that needs ranks outside its group gives up after so long.
GROUP_TIMEOUT = 20.0
# How far apart independent ranks start.
LATE = 1.0
# A group that gives up soon, and a pause that only a group with time to spare survives.
SHORT, PAUSE = 3.0, 8.0


def save_and_load_in_group(session: Session, ranks: list[int]) -> list[Difference]:
    """Save and load on the group of `ranks`; the others make the group and take no part."""
    group, state = session.new_group(GROUP_TIMEOUT, ranks), _with_replica(session, ranks)
    if session.rank not in ranks:
        return []
    checkpoint_id, target = session.new_id(), blank(state)
    session.save(state, checkpoint_id, process_group=group)
    session.load(target, checkpoint_id, process_group=group)
    return differences(state, target) or _by_its_own_storage(session, state, group)


def _by_its_own_storage(session: Session, state: dict[str, Any], group: Any) -> list[Difference]:
    """Once more with the pair as the backend makes it: an engine may know its own classes, and no stand-in for them."""
    if not session.drives_storage:
        return []
    checkpoint_id, target = session.new_id("untapped"), blank(state)
    writer = into_subject(session.storage.writer, checkpoint_id)
    session.save(state, checkpoint_id, writer=writer, process_group=group)
    session.load(target, checkpoint_id, reader=into_subject(session.storage.reader, checkpoint_id), process_group=group)
    return differences(state, target, key="through its own storage")


def _with_replica(session: Session, ranks: list[int]) -> dict[str, Any]:
    """Report what a rank saves, and a replicated tensor on the mesh of these ranks, which all ranks must make."""
    replica = Placer(session.device).distributed(coded(90, (6,), version=1), tuple(ranks), ["R"])
    return {**_state(session.rank), "replica": replica}


def load_with_replica(session: Session, ranks: list[int]) -> list[Difference]:
    """Load in one process what `save_and_load_in_group` saved."""
    wanted = {key: item for rank in ranks for key, item in _state(rank).items()}
    wanted["replica"] = coded(90, (6,), version=1)
    target = blank(wanted)
    session.load(target, session.new_id())
    return differences(wanted, target)


def load_states_of(session: Session, ranks: list[int], name: str = "checkpoint") -> list[Difference]:
    """Load all of what `ranks` saved together, in one process or in as many as they were."""
    wanted = {key: item for rank in ranks for key, item in _state(rank).items()}
    target = blank(wanted)
    session.load(target, session.new_id(name))
    return differences(wanted, target)


def save_with_fault_in_group(session: Session, ranks: list[int], fault: Fault) -> Attempt | None:
    """Report how a save on the group of `ranks` ended with the fault on a global rank; None outside the group."""
    group = session.new_group(GROUP_TIMEOUT, ranks)
    if session.rank not in ranks:
        return None
    return session.attempt(session.save, _state(session.rank), session.new_id(), faults=(fault,), process_group=group)


def save_in_two_groups(session: Session) -> None:
    """Ranks {0,1} and {2,3} save at the same time to two ids; the coordinator of the first is slow."""
    groups = [session.new_group(GROUP_TIMEOUT, ranks) for ranks in ([0, 1], [2, 3])]
    number = session.rank // 2
    slow = Fault(phase="write_data", ranks=(0,), kind="delay", seconds=0.2)
    session.save(_state(session.rank), session.new_id(f"group{number}"), faults=(slow,), process_group=groups[number])


def save_alone(session: Session, active: int, grouped: bool) -> list[Difference]:
    """One rank of a world saves and loads with no_dist; the others do nothing. grouped: it names a group of all too."""
    group = session.new_group(SHORT) if grouped else None
    if session.rank != active:
        return []
    checkpoint_id, target = session.new_id(), blank(_state(session.rank))
    session.save(_state(session.rank), checkpoint_id, no_dist=True, **_named(session, "save", group))
    session.load(target, checkpoint_id, no_dist=True, **_named(session, "load", group))
    return differences(_state(session.rank), target)


def _named(session: Session, call: str, group: Any) -> dict[str, Any]:
    return {} if group is None or not session.takes(call, "process_group") else {"process_group": group}


def save_coordinated_by_last(session: Session) -> None:
    """Save the storage through an engine, torch's, that is told to make the last rank the coordinator."""
    from torch.distributed.checkpoint import save_state_dict

    writer = session.writer(session.new_id())
    into_subject(save_state_dict, _state(session.rank), writer, coordinator_rank=session.world_size - 1)


def load_coordinated_by_last(session: Session) -> list[Difference]:
    """As `save_coordinated_by_last`, a load."""
    from torch.distributed.checkpoint import load_state_dict

    target = blank(_state(session.rank))
    reader = session.reader(session.new_id())
    into_subject(load_state_dict, target, reader, coordinator_rank=session.world_size - 1)
    return differences(_state(session.rank), target)


def save_under_two_timeouts(session: Session) -> Attempt:
    """Save on three groups at once, each with a rank that is late.

    Ranks {0,1} save on a group of SHORT seconds while rank 1 is stopped, which rank 0 continues when its own save has
    ended; {2,3} on one of 300 s, rank 3 with a pause; {4,5} on another such, to which rank 5 comes late.
    """
    pids = [torch.zeros(1, dtype=torch.int64) for _ in range(session.world_size)]
    torch.distributed.all_gather(pids, torch.tensor([os.getpid()]))
    timeouts = ((SHORT, [0, 1]), (300.0, [2, 3]), (300.0, [4, 5]))
    group = [session.new_group(timeout, ranks) for timeout, ranks in timeouts][session.rank // 2]
    # The stop acts after write_data, so that rank 0 is on its way into the exchange that follows.
    stop = Fault(phase="write_data", ranks=(1,), kind="stop", after=True)
    pause = Fault(phase="write_data", ranks=(3,), kind="delay", seconds=PAUSE)
    checkpoint_id = session.new_id(f"group{session.rank // 2}")
    if session.rank == 5:
        time.sleep(PAUSE)
    try:
        return session.attempt(
            session.save, _state(session.rank), checkpoint_id, faults=(stop, pause), process_group=group
        )
    finally:
        if session.rank == 0:
            os.kill(int(pids[1].item()), signal.SIGCONT)


def save_independently(session: Session, late_rank: int) -> list[str]:
    """Save the same names with other values on every rank without collectives, one rank late; the stored names."""
    # Made before anybody is late: distributing a tensor is a collective.
    checkpoint_id, state = session.new_id(), _own(session)
    if session.rank == late_rank:
        time.sleep(LATE)
    session.save(state, checkpoint_id, use_collectives=False)
    if "torch_format" in session.storage.unsupported or "stored_bytes" in session.storage.unsupported:
        return []
    blobs = session.blobs(checkpoint_id)
    return [] if blobs is None else sorted(blobs.names())


def load_independently(session: Session) -> list[Difference]:
    """Load what this rank saved for itself."""
    wanted = _own(session)
    target: dict[str, Any] = {key: _blank(item) for key, item in wanted.items()}
    session.load(target, session.new_id())
    return differences(wanted, target)


def load_replicated(session: Session) -> tuple[Attempt, list[Difference]]:
    """Load whole what was saved in shards without collectives: how it ended, and what is wrong with the values."""
    whole = coded(11, (8, 3), version=1)
    target = {"sharded": torch.full_like(whole, -1)}
    ended = session.attempt(session.load, target, session.new_id())
    return ended, differences({"sharded": whole}, target)


def _own(session: Session) -> dict[str, Any]:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (session.world_size,))
    state: dict[str, Any] = {
        "plain": coded(session.rank, (16,), version=1),
        "sharded": distribute_tensor(coded(11, (8, 3), version=1), mesh, [Shard(0)]),
    }
    if "objects" not in session.storage.unsupported:
        state["object"] = {"rank": session.rank}
    return state


def _blank(item: Any) -> Any:
    if hasattr(item, "to_local"):
        return torch.full_like(item, -1)
    return blank(item)


def _state(rank: int) -> dict[str, object]:
    """Report what one rank saves: an own tensor, and one that all have."""
    return {f"own{rank}": coded(rank, (50,), version=1), "common": coded(99, (8,), version=1)}


def mesh_rows(session: Session) -> list[str]:
    """Report what was wrong with the group wrapper's collectives on the rows of a 2 x 2 mesh, as sentences."""
    wrong = []
    rows = [session.new_group(GROUP_TIMEOUT, ranks) for ranks in ([0, 1], [2, 3])]
    row, place = divmod(session.rank, 2)
    wrapped = into_subject(session.tool("_DistWrapper"), rows[row], use_dist=True, coordinator_rank=1)
    leads = place == 1

    def check(what: str, expected: object, observed: object) -> None:
        if observed != expected:
            wrong.append(f"{what} gave {observed!r} instead of {expected!r}")

    everyone = [(row, 0), (row, 1)]
    check("get_rank", place, into_subject(wrapped.get_rank))
    check("get_world_size", 2, into_subject(wrapped.get_world_size))
    check("gather_object", everyone if leads else None, into_subject(wrapped.gather_object, (row, place)))
    check("all_gather_object", everyone, into_subject(wrapped.all_gather_object, (row, place)))
    check("scatter_object", (row, place), into_subject(wrapped.scatter_object, everyone if leads else None))
    check("broadcast_object", f"row {row}", into_subject(wrapped.broadcast_object, f"row {row}" if leads else None))
    into_subject(wrapped.barrier)
    return wrong
