"""Which clause a pair of layouts is about. Data only: neither torch nor pytest."""

from __future__ import annotations

from dataclasses import dataclass

from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.laws.verbs import must_match
from dcp_conformance.harness.states.layouts import Layout, layouts
from dcp_conformance.harness.subject.subject import Subject

CLAUSES = ("REPL-03", "RES-05", "RES-06", "RES-07", "RES-19", "RES-20", "SHARD-07", "SHARD-09", "SHARD-10")


@dataclass(frozen=True)
class Pair:
    """A layout that was saved on `worlds[0]` ranks and another that it was loaded into on `worlds[1]` ranks."""

    saved: Layout
    wanted: Layout
    worlds: tuple[int, int]


def pairs(saved_world: int, world: int) -> dict[str, Pair]:
    """All pairs of the two worlds, by the name that scenarios give them."""
    return {
        pair_name(saved.name, wanted.name, saved_world, world): Pair(saved, wanted, (saved_world, world))
        for saved in layouts(saved_world)
        for wanted in layouts(world)
    }


def pair_name(saved: str, wanted: str, saved_world: int, world: int) -> str:
    """How differences name a pair."""
    return f"{saved} on {saved_world} -> {wanted} on {world}"


def concerns(clause: str, pair: Pair) -> bool:
    """Whether `clause` promises that this pair works."""
    kinds = (pair.saved.kind, pair.wanted.kind)
    return {
        "REPL-03": pair.saved.replicated and pair.worlds[0] != pair.worlds[1],
        "RES-05": kinds == ("shards", "shards"),
        "RES-06": "plain" in kinds and set(kinds) != {"plain"},
        "RES-07": "plain" not in kinds and "dtensor" in kinds,
        "RES-19": 1 in pair.worlds and pair.worlds[0] != pair.worlds[1],
        "RES-20": len(pair.wanted.holders(pair.worlds[1])) < pair.worlds[1] or pair.wanted.name == "rows",
        "SHARD-07": not pair.saved.replicated,
        "SHARD-09": pair.wanted.kind == "plain" and len(pair.saved.holders(pair.worlds[0])) < pair.worlds[0],
        "SHARD-10": len({rank for rank, *_ in pair.saved.shards}) < len(pair.saved.shards),
    }[clause]


def judge_pairs(
    subject: Subject, clauses: tuple[str, ...], known: dict[str, Pair], found: list[list[Difference]]
) -> None:
    """Settle each clause by the differences of the pairs that it is about. found: by rank; keys begin with pairs."""
    for clause in clauses:
        with subject.promise(clause):
            must_match(
                [[item for item in rank if concerns(clause, known[item.key.partition(":")[0]])] for rank in found]
            )
