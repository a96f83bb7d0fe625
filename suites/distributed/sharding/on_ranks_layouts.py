"""Save one tensor in every layout that a world can hold, and load each into every layout of another world."""

from __future__ import annotations

import torch

from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.layouts import SHAPE, layouts
from dcp_conformance.harness.states.sharding import Placer, blanked, own_groups, piece_differences
from dcp_conformance.harness.states.values import coded
from dcp_conformance.harness.subject.session import Session
from dcp_conformance.suites.distributed.sharding.pairs import pair_name


def save_all(session: Session) -> None:
    """One key for each layout of this world, all in one checkpoint."""
    placer = Placer(session.device)
    with own_groups():
        names = [layout.name for layout in layouts(session.world_size)]
        state = {
            layout.name: placer.placed(_whole(names.index(layout.name)), layout)
            for layout in layouts(session.world_size)
        }
        session.save(state, session.new_id(f"saved-on-{session.world_size}"))
        del state, placer


def load_all(session: Session, saved_world: int) -> list[Difference]:
    """Load as often as this world has layouts, each time every key into another one, so that all pairs are seen.

    Where the backend opted out of resharding: once, each key into the layout in which it was saved. Returns the
    differences; their keys begin with the name of the pair. An error of a load is a difference of each of its pairs.
    """
    placer, found = Placer(session.device), list[Difference]()
    turns = 1 if "resharding" in session.storage.unsupported else len(layouts(session.world_size))
    with own_groups():
        for turn in range(turns):
            found += _load_turn(session, placer, saved_world, turn)
        del placer
    return found


def _load_turn(session: Session, placer: Placer, saved_world: int, turn: int) -> list[Difference]:
    saved, wanted = layouts(saved_world), layouts(session.world_size)
    chosen = {layout.name: wanted[(place + turn) % len(wanted)] for place, layout in enumerate(saved)}
    expected = {name: placer.placed(_whole(place), chosen[name]) for place, name in enumerate(chosen)}
    target = {name: blanked(placer.placed(_whole(place), chosen[name])) for place, name in enumerate(chosen)}
    attempt = session.attempt(session.load, target, session.new_id(f"saved-on-{saved_world}"))
    pairs = {name: pair_name(name, chosen[name].name, saved_world, session.world_size) for name in chosen}
    if not attempt.ok:
        return [_refusal(pair, attempt) for pair in pairs.values()]
    return [
        difference
        for name in chosen
        for difference in piece_differences(expected[name], target[name], f"{pairs[name]}: ")
    ]


def _refusal(pair: str, attempt: Attempt) -> Difference:
    assert attempt.error is not None
    return Difference(f"{pair}: ", (), "what was saved", f"{attempt.error.type_name}: {attempt.error.text[:200]}")


def _whole(key: int) -> torch.Tensor:
    return coded(key, SHAPE, version=1)
