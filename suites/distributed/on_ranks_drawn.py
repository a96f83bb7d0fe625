"""Save the state of a combination on the ranks of one world, and load it in another layout on those of another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.faults.storage import announce
from dcp_conformance.harness.laws.drawn import Trip, broken
from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.layouts import Layout
from dcp_conformance.harness.states.model_on_ranks import SHAPES, layout_of
from dcp_conformance.harness.states.sharding import Placer, own_groups, piece_differences
from dcp_conformance.harness.states.values import blank, coded, other_bits, pattern
from dcp_conformance.harness.states.varied import Combination
from dcp_conformance.harness.subject.session import Session
from dcp_conformance.harness.subject.writer_options import option_set

# How many entries of its own the last rank, and each other rank, has; of which shape.
OWN: dict[str, tuple[int, int, tuple[int, ...]]] = {
    "one": (1, 1, (7,)),
    "nothing": (0, 0, ()),
    "equal shapes": (3, 3, (4, 4)),
    "nine on each": (9, 9, (5,)),
    "on the last only": (9, 0, (5,)),
    "objects": (1, 1, ()),
}


def save_rows(session: Session, rows: list[Combination], name: str) -> list[Trip]:
    """Save each combination under an id of its own; the first that fails is the last."""
    return _each(session, rows, name, _save)


def load_rows(session: Session, rows: list[Combination], name: str) -> list[Trip]:
    """Load each combination that `save_rows` saved, and compare."""
    return _each(session, rows, name, _load)


def _each(
    session: Session, rows: list[Combination], name: str, step: Callable[..., list[tuple[str, Difference]]]
) -> list[Trip]:
    trips, placer = list[Trip](), Placer(session.device)
    with own_groups():
        for place, row in enumerate(rows):
            announce("combination", place=place)
            found = list[tuple[str, Difference]]()
            ended = session.attempt(lambda: found.extend(step(session, placer, row, f"{name}-{place}")))  # noqa: B023
            trips.append(Trip(row, step.__name__.strip("_"), ended, found))
            if _anywhere(session, broken=broken(trips[-1])):
                break
    return trips


def _anywhere(session: Session, *, broken: bool) -> bool:
    """Tell whether any rank says so: all of them stop at the same combination."""
    if session.world_size == 1:
        return broken
    told = torch.tensor(int(broken))
    dist.all_reduce(told, op=dist.ReduceOp.MAX)
    return bool(told)


def _save(session: Session, placer: Placer, row: Combination, name: str) -> list[tuple[str, Difference]]:
    checkpoint_id, elsewhere = session.new_id(name), session.new_id(f"{name}-elsewhere")
    _before(session, placer, row, checkpoint_id)
    state = _state(session, placer, row, version=2)
    expected = {key: _copied(value) for key, value in state.items()}
    if row["style"] == "constructor":
        session.save(state, checkpoint_id, writer=_writer(session, checkpoint_id, row))
    else:
        writer = _writer(session, elsewhere, row)
        if row["style"] == "again":
            session.save({"main": coded(7, (5, 6), version=9)}, elsewhere, writer=writer, style="passed")
        session.save(state, checkpoint_id, writer=writer, style="passed")
    return [
        ("input", item) for key, value in state.items() for item in differences(expected[key], _copied(value), key=key)
    ]


def _before(session: Session, placer: Placer, row: Combination, checkpoint_id: Any) -> None:
    kind, last = row["before"], session.world_size - 1
    if kind == "failed on one" and session.drives_storage:
        fault = Fault(phase="write_data", ranks=(last,), after=True)
        session.attempt(session.save, _state(session, placer, row, version=1), checkpoint_id, faults=(fault,))
    elif kind == "same":
        session.save(_state(session, placer, row, version=1), checkpoint_id)
    elif kind == "other layout":
        session.save({"main": coded(8, (31, 3), version=1), f"own{session.rank}.0": torch.ones(2)}, checkpoint_id)
    elif kind == "more entries":
        more = {**row, "own": "nine on each"}
        session.save(_state(session, placer, more, version=1), checkpoint_id)


def _writer(session: Session, checkpoint_id: Any, row: Combination) -> Any:
    if session.storage.writer is None:
        return None
    return session.writer(checkpoint_id, **option_set(session, row["options"]))


def _state(session: Session, placer: Placer, row: Combination, *, version: int) -> dict[str, Any]:
    world, layout = layout_of(row["saved"])
    own = _own(row, session.rank, world, version)
    return {"main": placer.placed(_whole(row, version), layout), **own}


def _whole(row: Combination, version: int) -> torch.Tensor:
    shape, dtype = SHAPES[row["shape"]], getattr(torch, row["dtype"])
    if row["content"] == "told apart":
        return _told_apart(3, shape, dtype, version)
    return torch.full(shape, 1 if row["content"] == "equal" else 0, dtype=dtype)


def _own(row: Combination, rank: int, world: int, version: int) -> dict[str, Any]:
    """Report what a rank of the saved world has of its own."""
    on_last, on_others, shape = OWN[row["own"]]
    count = on_last if rank == world - 1 else on_others
    if row["own"] == "objects":
        return {f"own{rank}.0": (rank, f"of rank {rank}", version), "common": {"step": version}}
    return {
        f"own{rank}.{place}": _told_apart(100 + 10 * rank + place, shape, getattr(torch, row["dtype"]), version)
        for place in range(count)
    }


def _told_apart(key: int, shape: tuple[int, ...], dtype: torch.dtype, version: int) -> torch.Tensor:
    """Values of which no two keys, versions or places share any; coded where the dtype holds so many numbers."""
    holds_codes = dtype in (torch.float64, torch.int64)
    return (
        coded(key, shape, version=version, dtype=dtype)
        if holds_codes
        else pattern(str(key), shape, dtype, version=version)
    )


def _load(session: Session, placer: Placer, row: Combination, name: str) -> list[tuple[str, Difference]]:
    checkpoint_id, elsewhere = session.new_id(name), session.new_id(f"{name}-elsewhere")
    reader = None
    if row["style"] != "constructor" and session.storage.reader is not None:
        reader = session.reader(elsewhere)
        if row["style"] == "again":
            session.load({"main": torch.zeros(5, 6, dtype=torch.float64)}, elsewhere, reader=reader, style="passed")
    found = list[tuple[str, Difference]]()
    for _time in range(2 if row["loaded"] == "twice" else 1):
        found += _load_once(session, placer, row, checkpoint_id, reader)
    return found


def _load_once(
    session: Session, placer: Placer, row: Combination, checkpoint_id: Any, reader: Any
) -> list[tuple[str, Difference]]:
    layout: Layout = layout_of(row["wanted"])[1]
    whole, own = _whole(row, 2), {} if row["loaded"] == "tensor only" else _chosen(session, row)
    target = {"main": placer.placed(other_bits(whole), layout), **{key: blank(value) for key, value in own.items()}}
    if row["loaded"] == "other order" and session.rank % 2:
        target = dict(reversed(target.items()))
    style = {} if reader is None else {"reader": reader, "style": "passed"}
    session.load(target, checkpoint_id, **style)
    main = piece_differences(placer.placed(whole, layout), target["main"], "main")
    rest = [item for key in own for item in differences(own[key], target[key], key=key)]
    return [("tensor", item) for item in main] + [("own", item) for item in rest]


def _chosen(session: Session, row: Combination) -> dict[str, Any]:
    """Return the entries of single ranks that this rank loads: each rank others, whoever had saved them."""
    world = layout_of(row["saved"])[0]
    every = [item for rank in range(world) for item in _own(row, rank, world, 2).items()]
    return dict(every[session.rank :: session.world_size])


def _copied(value: Any) -> Any:
    from dcp_conformance.harness.states.sharding import pieces

    return [piece.clone() for piece in pieces(value)] if isinstance(value, torch.Tensor) or _sharded(value) else value


def _sharded(value: Any) -> bool:
    return hasattr(value, "local_shards")
