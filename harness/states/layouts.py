"""How one tensor may lie on the ranks of a world, as data without torch; harness.states.sharding builds them."""

from __future__ import annotations

from dataclasses import dataclass

# Rows and columns divide unevenly over 2, 3 and 4 ranks; by rows over 4 ranks the last shard is empty.
SHAPE = (5, 6)

Mesh = tuple[int, ...] | tuple[tuple[int, ...], ...]
Shard = tuple[int, tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Layout:
    """One way to hold a tensor of SHAPE.

    mesh, placements: of a DTensor; "S0" is Shard(0), "R" is Replicate(), "SS0" is Shard(0) applied after the mesh
        dimensions to its right (what fully sharded plus tensor-parallel rows give), its factor their size.
    shards: of a ShardedTensor; (rank, offsets, sizes) of each. Neither: a plain tensor, whole on every rank.
    """

    name: str
    mesh: Mesh = ()
    placements: tuple[str, ...] = ()
    shards: tuple[Shard, ...] = ()

    @property
    def kind(self) -> str:
        """plain, dtensor or shards."""
        if self.placements:
            return "dtensor"
        return "shards" if self.shards else "plain"

    @property
    def replicated(self) -> bool:
        """Whether each rank that has it has all of it."""
        return not self.shards and set(self.placements) <= {"R"}

    def holders(self, world: int) -> set[int]:
        """Return the ranks that hold a part of it, were it as large as its mesh."""
        if self.kind == "plain":
            return set(range(world))
        if self.shards:
            return {rank for rank, _offsets, _sizes in self.shards}
        return {rank for row in self.mesh for rank in (row if isinstance(row, tuple) else (row,))}


def _line(world: int) -> list[Layout]:
    ranks = tuple(range(world))
    return [
        Layout("plain"),
        Layout("rows", ranks, ("S0",)),
        Layout("columns", ranks, ("S1",)),
        Layout("replicated", ranks, ("R",)),
    ]


LAYOUTS: dict[int, tuple[Layout, ...]] = {
    1: (Layout("plain"),),
    2: (
        *_line(2),
        Layout("only-rank-1", (1,), ("S0",)),
        Layout("even-shards", shards=((0, (0, 0), (5, 3)), (1, (0, 3), (5, 3)))),
        Layout("two-shards-on-rank-0", shards=((0, (0, 0), (1, 6)), (1, (1, 0), (2, 6)), (0, (3, 0), (2, 6)))),
        Layout("more-shards-on-rank-1", shards=((1, (0, 0), (2, 6)), (0, (2, 0), (1, 6)), (1, (3, 0), (2, 6)))),
        Layout("reversed-uneven-shards", shards=((1, (0, 0), (4, 6)), (0, (4, 0), (1, 6)))),
    ),
    3: (
        *_line(3),
        Layout("two-of-three", (0, 1), ("S0",)),
        Layout("without-rank-0", (2, 1), ("S1",)),
        Layout(
            "grid-of-shards",
            shards=((2, (0, 0), (2, 4)), (0, (0, 4), (2, 2)), (1, (2, 0), (3, 1)), (0, (2, 1), (3, 5))),
        ),
    ),
    4: (
        *_line(4),
        Layout("rows-by-columns", ((0, 1), (2, 3)), ("S0", "S1")),
        Layout("columns-by-rows", ((0, 1), (2, 3)), ("S1", "S0")),
        Layout("rows-in-rows", ((0, 1), (2, 3)), ("S0", "S0")),
        Layout("strided-rows", ((0, 1), (2, 3)), ("SS0", "S0")),
        Layout("hybrid", ((0, 1), (2, 3)), ("R", "S0")),
        Layout("hybrid-columns", ((0, 1), (2, 3)), ("S1", "R")),
        Layout("three-of-four", (0, 2, 3), ("S0",)),
        Layout("reversed-shards", shards=tuple((3 - at, (at, 0), (1 if at < 3 else 2, 6)) for at in range(4))),
        Layout(
            "repeated-ranks",
            shards=(
                (1, (0, 0), (3, 2)), (1, (0, 2), (3, 4)), (3, (3, 0), (1, 6)), (1, (4, 0), (1, 3)), (2, (4, 3), (1, 3)),
            ),
        ),
    ),
}  # fmt: skip


def layouts(world: int) -> tuple[Layout, ...]:
    """Return the layouts that a world of this size can hold."""
    return LAYOUTS[world]
