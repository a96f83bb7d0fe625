"""The model of several ranks: a tensor in one layout that is loaded into another, beside what each rank has of its own.

Worlds and layouts are those of harness.states.layouts; a layout's name says its world too, so that no pair is in vain.
"""

from __future__ import annotations

from dataclasses import replace

from dcp_conformance.harness.states.layouts import LAYOUTS, Layout
from dcp_conformance.harness.states.varied import Factor, Model, Value, clash, factor, hiding, needing

# ShardedTensors are described for the first only; the others have fewer rows than ranks, are square or large.
SHAPES: dict[str, tuple[int, ...]] = {"table": (5, 6), "flat": (1, 6), "square": (4, 4), "large": (67, 65)}


def layout_of(said: str) -> tuple[int, Layout]:
    """Return the world and the layout that a value of the factors `saved` and `wanted` means."""
    name, _on, world = said.rpartition(" on ")
    return int(world), next(layout for layout in LAYOUTS[int(world)] if layout.name == name)


# One of each kind; every pair of all layouts is met elsewhere, in one plain state (SHARD and RES clauses).
CHOSEN = (
    "rows on 2", "columns on 2", "replicated on 2", "two-shards-on-rank-0 on 2", "reversed-uneven-shards on 2",
    "only-rank-1 on 2", "plain on 1", "rows-by-columns on 4", "strided-rows on 4", "hybrid on 4", "repeated-ranks on 4",
)  # fmt: skip


def _layouts(name: str) -> Factor:
    bug = "offsets of a layout that is divided, ordered or replicated in another way"
    return factor(name, *(Value(name=item, stands_for=bug, needs=_needs(item)) for item in CHOSEN))


def _needs(said: str) -> tuple[str, ...]:
    return () if said.endswith(" on 2") else ("resharding",)


_SHARDS = [said for said in CHOSEN if layout_of(said)[1].kind == "shards"]
_OTHER_SHAPES = [name for name in SHAPES if name != "table"]

ON_RANKS = Model(
    factors=(
        _layouts("saved"),
        _layouts("wanted"),
        factor(
            "dtype",
            ("float32", "none: the dtype that everybody tries"),
            ("float64", "offsets counted in elements of 4 bytes"),
            ("bfloat16", "numpy has no such type"),
            ("int64", "narrowed where chunks are joined"),
            ("int8", "offsets counted in elements of 4 bytes"),
            ("bool", "packed chunks joined at a bit"),
        ),
        factor(
            "shape",
            ("table", "none: uneven rows and columns"),
            ("flat", "fewer rows than ranks: empty shards"),
            ("square", "rows and columns exchanged without a trace"),
            ("large", "chunks beyond a page"),
        ),
        factor(
            "own",
            ("one", "none: one tensor that only this rank has"),
            ("nothing", "a rank with nothing of its own"),
            ("equal shapes", "tensors of every rank of one shape: written over each other"),
            ("nine on each", "8k+1 entries on each rank: the last of a batch is left out"),
            ("on the last only", "one rank has many, the others none"),
            *needing("objects", ("objects", "an object of each rank, and one of all")),
        ),
        factor(
            "content",
            ("told apart", "none: each element names its place, or all its bits are used"),
            *hiding(("equal", "all chunks equal: found by their hash, stored once"), ("zeros", "nothing to store")),
        ),
        factor(
            "style",
            ("constructor", "none: the id is given to new writers and readers"),
            ("passed", "the id is passed along: reset() is forgotten on some rank"),
            ("again", "writer and reader have done another id: state of the earlier call"),
        ),
        factor(
            "before",
            ("nothing", "none: a new id"),
            ("failed on one", "remains of a save that failed on the last rank"),
            *needing("overwrite", ("same", "old chunks of equal sizes"),
                     ("other layout", "old chunks of a layout with other files"),
                     ("more entries", "old entries of each rank stay")),
        ),
        factor(
            "loaded",
            ("whole", "none: everything"),
            *hiding(("tensor only", "a part: found by position")),
            ("other order", "each rank names its entries in an order of its own"),
            ("twice", "a second load through what the first one left"),
        ),
    ),
    clashes=(
        clash("saved", _SHARDS, "shape", _OTHER_SHAPES, "these shards are described for one shape"),
        clash("wanted", _SHARDS, "shape", _OTHER_SHAPES, "these shards are described for one shape"),
    ),
)  # fmt: skip

# What a backend without resharding promises.
IN_ONE_LAYOUT = replace(
    ON_RANKS,
    clashes=(
        *ON_RANKS.clashes,
        *(
            clash("saved", [said], "wanted", [other for other in CHOSEN if other != said], "no resharding")
            for said in CHOSEN
        ),
    ),
)
