"""Ids over a longer life: many saves of sizes that grow and shrink, looks in between, neighbours, changing ranks.

What is judged is what loads; how often, in which order and by whom is what varies.
"""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import torch

from dcp_conformance.harness.faults.storage import announce
from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.looking import uses_storage
from dcp_conformance.harness.subject.session import Session, into_subject
from dcp_conformance.suites.core.commit.looks import Look

# Elements of the tensors of the first saves; later ones begin anew. Neither sorted, nor of one number of digits.
SIZES = (5, 40, 1, 300, 7)


def state_of(session: Session, ranks: int, version: int) -> dict[str, Any]:
    """Report what `ranks` ranks save together as their `version`-th save; keys, sizes and lengths change with it."""
    state: dict[str, Any] = {}
    for rank in range(ranks):
        size = SIZES[(version + rank) % len(SIZES)]
        state[f"own{rank}"] = coded(rank, (size,), version=version).to(session.device)
        state[f"own{rank}.of{version % 3}"] = coded(64 + rank, (3,), version=version).to(session.device)
        if "objects" not in session.storage.unsupported:
            state[f"text{rank}"] = f"save {version} of rank {rank} " + "x" * size
    state["common"] = coded(99, (SIZES[version % len(SIZES)], 2), version=version).to(session.device)
    return state


def own_part(session: Session, ranks: int, version: int) -> dict[str, Any]:
    """Return the part of `state_of` that this rank saves."""
    others = [f"{kind}{rank}" for rank in range(ranks) if rank != session.rank for kind in ("own", "text")]
    whole = state_of(session, ranks, version)
    return {key: value for key, value in whole.items() if key.partition(".")[0] not in others}


def many_saves(session: Session, saves: int, reuse: bool) -> list[Look]:
    """Save again and again to one id and look after each; a try before the first save too.

    reuse: with one writer and one reader, which were there before anything was stored.
    """
    session.needs("overwrite")
    if reuse and not (uses_storage(session, "save") and uses_storage(session, "load")):
        session.excuse("the engine takes no storage that could be used again")
    checkpoint_id, world = session.new_id(), session.world_size
    writer, reader = (session.writer(checkpoint_id), session.reader(checkpoint_id)) if reuse else (None, None)
    session.attempt(session.load, blank(state_of(session, world, 1)), checkpoint_id, reader=reader)
    looks = []
    for version in range(1, saves + 1):
        session.save(own_part(session, world, version), checkpoint_id, writer=writer)
        target = blank(state_of(session, world, version))
        session.load(target, checkpoint_id, reader=reader)
        looks.append(Look(when=f"after save {version}", found=differences(state_of(session, world, version), target)))
    return looks


def save_as(session: Session, version: int) -> None:
    """Save once by all ranks of this world, to an id that worlds of other sizes use too."""
    session.save(own_part(session, session.world_size, version), session.new_id("shared"))


def rearranged_saves(session: Session) -> list[Look]:
    """Save the same whole numbers in one order after the other, of several sizes, to one id and then to new ones."""
    looks = []
    whole = torch.arange(90_000).reshape(300, 300)
    first = {"small": torch.arange(24.0), "large": whole, "large and real": whole.double()}
    orders = {
        "in order": first,
        "in reverse": {key: item.flip(0) for key, item in first.items()},
        "turned by one": {key: item.roll(1, 0) for key, item in first.items()},
    }
    over_it = [session.new_id("rearranged")] * len(orders) if "overwrite" not in session.storage.unsupported else []
    ids = [*over_it, *(session.new_id(f"rearranged{number}") for number in range(len(orders)))]
    for checkpoint_id, (name, wanted) in zip(ids, itertools.cycle(orders.items())):
        session.save({key: item.clone() for key, item in wanted.items()}, checkpoint_id)
        target = blank(wanted)
        session.load(target, checkpoint_id)
        looks.append(Look(when=f"of numbers {name}", found=differences(wanted, target)))
    return looks


def save_pieces_as(session: Session, version: int, owners: tuple[int, ...]) -> None:
    """Save one sharded tensor whose piece number n belongs to rank owners[n], to an id that other worlds use too."""
    from torch.distributed._shard import sharded_tensor

    shards = [
        sharded_tensor.Shard(
            coded(place, (3,), version=version).to(session.device),
            sharded_tensor.ShardMetadata([3 * place], [3], f"rank:{session.rank}/{session.device}"),
        )
        for place, owner in enumerate(owners)
        if owner == session.rank
    ]
    state = {"t": sharded_tensor.init_from_local_shards(shards, 3 * len(owners))}
    session.save(state, session.new_id("pieces"))


def look_at_pieces(session: Session, version: int, count: int) -> list[Difference]:
    """Load them as one plain tensor in one process."""
    wanted = {"t": torch.cat([coded(place, (3,), version=version) for place in range(count)])}
    target = blank(wanted)
    session.load(target, session.new_id("pieces"))
    return differences(wanted, target)


def look_at(session: Session, ranks: int, version: int) -> tuple[list[str], Look]:
    """Return the keys that are listed at that id, and what a load gives."""
    checkpoint_id, wanted = session.new_id("shared"), state_of(session, ranks, version)
    target = blank(wanted)
    session.load(target, checkpoint_id)
    found = differences(wanted, target)
    if session.storage.reader is None:
        return sorted(wanted), Look(when=f"after a save by {ranks} ranks", found=found)
    keys = sorted(session.reader(checkpoint_id).read_metadata().state_dict_metadata)
    return keys, Look(when=f"after a save by {ranks} ranks", found=found)


def keys_of(session: Session, ranks: int, version: int) -> list[str]:
    """Return the keys of such a state."""
    return sorted(state_of(session, ranks, version))


def neighbours(session: Session, overwrite: bool) -> list[Look]:
    """Look at three ids: two of one name below different parents, and one whose name begins with theirs.

    All hold equal values at first; each is then loaded, in turn, and (overwrite) one of them saved anew before each
    look.
    """
    if overwrite:
        session.needs("overwrite")
    ids = {
        "a/same": _below(session, "a", "same"), "b/same": _below(session, "b", "same"),
        "a/same-2": _below(session, "a", "same-2"),
    }  # fmt: skip
    if len({str(checkpoint_id) for checkpoint_id in ids.values()}) < len(ids):
        session.excuse("its ids do not depend on the folder in which they are made")
    world, versions = session.world_size, dict.fromkeys(ids, 1)
    for number, (name, checkpoint_id) in enumerate(ids.items()):
        versions[name] = 1 if overwrite else 1 + number
        session.save(own_part(session, world, versions[name]), checkpoint_id)
    looks = [seen(session, f"{name} after a save to each", ids[name], versions[name]) for name in ids]
    for turn, changed in enumerate(ids if overwrite else (), 2):
        versions[changed] = turn
        session.save(own_part(session, world, turn), ids[changed])
        looks += [seen(session, f"{name} after {changed} was saved anew", ids[name], versions[name]) for name in ids]
    return looks


class Moving:
    """A Stateful whose state moves on between saves, in the same tensors, and which grows a key."""

    def __init__(self, rank: int) -> None:
        self.rank, self.version, self.tensor = rank, 0, torch.zeros(6, dtype=torch.float64)

    def step(self) -> None:
        """Go on by one version."""
        self.version += 1
        self.tensor.copy_(coded(self.rank, (6,), version=self.version))

    def state_dict(self) -> dict[str, Any]:
        """Report what it is now."""
        return {"moving": self.tensor, **{f"at{number}": self.tensor + number for number in range(self.version)}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Never called: loads of these scenarios go into plain dictionaries."""


def moving_stateful(session: Session, saves: int) -> list[Look]:
    """Save one object after each of its steps, each time to a new id, with one and the same top-level dictionary."""
    thing, looks = Moving(session.rank), []
    state = {f"thing{session.rank}": thing}
    for number in range(1, saves + 1):
        thing.step()
        checkpoint_id = session.new_id(f"step{number}")
        session.save(state, checkpoint_id)
        wanted = {f"thing{session.rank}": {key: value.clone() for key, value in thing.state_dict().items()}}
        target = blank(wanted)
        session.load(target, checkpoint_id)
        looks.append(Look(when=f"of step {number}", found=differences(wanted, target)))
    return looks


def moving_objects(session: Session, saves: int) -> list[Look]:
    """Save the same objects and tensors after each change in place, each time to a new id."""
    session.needs("objects")
    words, steps, raw, tensor = ["begun " * 300], [0], bytearray(2000), torch.zeros(2000, dtype=torch.float64)
    held: dict[str, Any] = {"words": words, "table": {"inner": {"steps": steps}}, "bytes": raw, "tensor": tensor}
    state, looks = {f"{key}{session.rank}": value for key, value in held.items()}, []
    for number in range(1, saves + 1):
        words[0] = f"step {number} " * 300
        steps.append(number)
        raw[number], tensor[number] = number, number
        checkpoint_id, wanted = session.new_id(f"object-step{number}"), copy.deepcopy(state)
        session.save(state, checkpoint_id)
        target = blank(wanted)
        session.load(target, checkpoint_id)
        looks.append(Look(when=f"of step {number}", found=differences(wanted, target)))
    return looks


def seen(session: Session, when: str, checkpoint_id: Any, version: int) -> Look:
    wanted = state_of(session, session.world_size, version)
    target = blank(wanted)
    session.load(target, checkpoint_id)
    return Look(when=when, found=differences(wanted, target))


def _below(session: Session, parent: str, name: str) -> Any:
    folder = Path(session.spec.scratch, f"{session.spec.place}-{parent}")
    folder.mkdir(exist_ok=True)
    checkpoint_id = into_subject(session.storage.new_checkpoint_id, str(folder), name)
    announce("id", name=name, id=str(checkpoint_id))
    return checkpoint_id
