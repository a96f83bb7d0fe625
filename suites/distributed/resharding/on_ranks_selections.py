"""Ranks that ask for different things: other keys, other orders, other meshes, nothing at all."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Shard, distribute_tensor

from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.sharding import Placer, blanked, own_groups, piece_differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session, into_subject


def other_keys(session: Session) -> list[Difference]:
    """Every rank saves keys of all; then rank r loads all but the last r of them."""
    state = {f"t{key}": coded(key, (8,), version=1).to(session.device) for key in range(session.world_size + 1)}
    session.save(dict(state), session.new_id())
    wanted = dict(list(state.items())[: len(state) - session.rank])
    target = blank(wanted)
    session.load(target, session.new_id())
    return differences(wanted, target)


def nothing_on_the_last_rank(session: Session) -> list[Difference]:
    """A sharded, a replicated and an own value; then the last rank loads `{}` and the others what they saved."""
    with own_groups():
        placer, ranks = Placer(session.device), tuple(range(session.world_size))
        state: dict[str, Any] = {
            "rows": placer.distributed(coded(1, (2, 3), version=1), ranks, ["S0"]),
            "submesh": placer.distributed(coded(2, (4,), version=1), (0, 1), ["S0"]),
            "plain": coded(3, (4,), version=1).to(session.device),
        }
        session.save(dict(state), session.new_id())
        last = session.rank == session.world_size - 1
        rows = placer.distributed(coded(1, (2, 3), version=1), ranks, ["S0"])
        parts = placer.distributed(coded(2, (4,), version=1), (0, 1), ["S0"])
        target = (
            {}
            if last
            else {"rows": blanked(rows), "submesh": blanked(parts), "plain": torch.full_like(state["plain"], -1)}
        )
        session.load(target, session.new_id())
        return [item for key in target for item in piece_differences(state[key], target[key], key)]


def meshes_of_other_names(session: Session) -> list[Difference]:
    """Save on a mesh of 2 by 1 named (dp, tp); load on one of 1 by 2 named (x, y) and on a line without names."""
    with own_groups():
        kind, whole = torch.device(session.device).type, coded(1, (4, 6), version=1).to(session.device)
        grid = [Shard(0), Shard(1)]
        saved = DeviceMesh(kind, [[0], [1]], mesh_dim_names=("dp", "tp"))
        session.save({"t": distribute_tensor(whole.clone(), saved, grid, src_data_rank=None)}, session.new_id())
        found = []
        for name, mesh, placements in (
            ("x-y", DeviceMesh(kind, [[0, 1]], mesh_dim_names=("x", "y")), grid),
            ("unnamed", DeviceMesh(kind, [0, 1]), grid[1:]),
        ):
            expected = distribute_tensor(whole.clone(), mesh, placements, src_data_rank=None)
            target = {"t": blanked(distribute_tensor(whole.clone(), mesh, placements, src_data_rank=None))}
            session.load(target, session.new_id())
            found += piece_differences(expected, target["t"], f"t on the mesh {name}")
        return found


class _Talking:
    """A Stateful whose load_state_dict runs collectives, as samplers and data loaders do."""

    def __init__(self, number: int, kind: str) -> None:
        self.value, self.total, self._kind = torch.full((2,), float(number)), 0.0, kind

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value.clone()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.value = state_dict["value"]
        gathered = [torch.zeros_like(self.value) for _ in range(dist.get_world_size())]
        if self._kind == "gather":
            dist.all_gather(gathered, self.value)
            self.total = float(sum(part[0] for part in gathered))
        else:
            reduced = self.value.clone()
            dist.all_reduce(reduced)
            self.total = float(reduced[0])


def keys_in_other_orders(session: Session) -> list[Difference]:
    """Stateful objects that talk to each other while they load; every second rank lists its keys backwards."""

    def state(*numbers: int) -> dict[str, Any]:
        made: dict[str, Any] = {
            f"s{n}": _Talking(number, "gather" if n % 2 else "reduce") for n, number in enumerate(numbers)
        }
        made["plain"] = coded(1, (4,), version=1)
        return dict(reversed(made.items())) if session.rank % 2 else made

    session.save(state(3, 5, 7, 11), session.new_id())
    target = state(0, 0, 0, 0)
    target["plain"].fill_(-1)
    session.load(target, session.new_id())
    seen = {f"s{n}": [float(target[f"s{n}"].value[0]), target[f"s{n}"].total] for n in range(4)}
    expected = {f"s{n}": [float(value), float(value * session.world_size)] for n, value in enumerate((3, 5, 7, 11))}
    return differences({**expected, "plain": coded(1, (4,), version=1)}, {**seen, "plain": target["plain"]})


def comparison_of_keys(session: Session, kind: str) -> Attempt:
    """Report how the comparison of key sets ended: `same` on all ranks, `own` key on each."""
    state = {"common": 1, **({f"own{session.rank}": 2} if kind == "own" else {})}
    return session.attempt(into_subject, session.tool("_assert_same_keys"), state, None)


def different_values(session: Session) -> tuple[Attempt, list[Difference]]:
    """Each rank saves a state of its own under the same keys, as if it were replicated.

    Returns how the save ended, and how what loads then differs from the state of rank 0, as a whole.
    """
    # The large value makes rank 0 the busiest, so that a balance of bytes would choose other ranks for the rest.
    common = {"a-big": torch.zeros(4000)}
    own, wanted = ({**common, **_of_rank(session, rank)} for rank in (session.rank, 0))
    save = session.attempt(session.save, {key: _on(session, item) for key, item in own.items()}, session.new_id())
    target = blank({key: _on(session, item) for key, item in wanted.items()})
    if save.ok:
        session.load(target, session.new_id())
    return save, differences(wanted, target) if save.ok else []


def _of_rank(session: Session, rank: int) -> dict[str, Any]:
    """Values of several kinds and sizes, single numbers too, which tell whose they are."""
    sizes = {"one": (1,), "few": (7,), "many": (300,), "rows": (5, 3), "scalar": ()}
    state: dict[str, Any] = {
        key: coded(number, size, version=1 + rank) for number, (key, size) in enumerate(sizes.items())
    }
    if "objects" not in session.storage.unsupported:
        state |= {"rng": f"rank{rank}", "epoch": rank, "nested": {"steps": [rank, rank + 1]}}
    return state


def _on(session: Session, value: Any) -> Any:
    return value.to(session.device) if isinstance(value, torch.Tensor) else value
