"""Laws about the order of calls across the storage and planner interfaces."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dcp_conformance.harness.laws.verbs import Broken, must

# Calls that only the coordinator makes where ranks cooperate.
COORDINATOR_SAVES = ("writer.prepare_global_plan", "writer.finish")
COORDINATOR_LOADS = ("reader.prepare_global_plan",)
SAVE_CHAINS = (
    (
        "writer.reset", "writer.set_up_storage_writer", "writer.prepare_local_plan", "writer.prepare_global_plan",
        "writer.write_data", "writer.finish",
    ),
    (
        "writer.reset", "planner.set_up_planner", "planner.create_local_plan", "writer.prepare_local_plan",
        "planner.create_global_plan", "writer.prepare_global_plan", "planner.finish_plan", "writer.write_data",
    ),
    ("writer.storage_meta", "writer.write_data"),
)  # fmt: skip
LOAD_CHAINS = (
    (
        "reader.reset", "reader.read_metadata", "planner.set_up_planner", "reader.set_up_storage_reader",
        "planner.create_local_plan", "reader.prepare_local_plan", "planner.create_global_plan",
        "reader.prepare_global_plan", "planner.finish_plan", "reader.read_data",
    ),
)  # fmt: skip
Steps = Sequence[tuple[str, str]]


def in_order(steps: Steps, chains: Sequence[Sequence[str]], *, rank: int) -> None:
    """Broken if a later link of a chain was called before an earlier one; further calls do not count."""
    names = [name for name, _ in steps]
    for chain in chains:
        present = [name for name in chain if name in names]
        for earlier, later in zip(present, present[1:], strict=False):
            what = f"it called {later} before {earlier}; the calls were {', '.join(names)}"
            must(names.index(earlier) < names.index(later), otherwise=what, kind="order", rank=rank)


def all_called(steps: Steps, wanted: Collection[str], *, rank: int) -> None:
    """Broken if one of the calls was never made."""
    names = {name for name, _ in steps}
    for name in wanted:
        must(
            name in names,
            otherwise=f"it never called {name}; the calls were {', '.join(n for n, _ in steps)}",
            kind="order",
            rank=rank,
        )


def one_coordinator(per_rank: Sequence[Steps], calls: Collection[str]) -> None:
    """Broken unless exactly one rank made the coordinator's calls, all of them the same rank."""
    made = {
        name: [rank for rank, steps in enumerate(per_rank) if name in {call for call, _ in steps}] for name in calls
    }
    for name, ranks in made.items():
        if len(ranks) != 1:
            raise Broken(
                f"ranks {ranks} called {name}; only the coordinator may",
                kind="coordinator",
                rank=max(ranks, default=None),
            )
    must(
        len({ranks[0] for ranks in made.values()}) == 1,
        otherwise=f"different ranks coordinated: {made}",
        kind="coordinator",
    )


def alone_with_its_plan(steps: Steps, *, rank: int) -> None:
    """Broken unless a rank made the coordinator's calls itself, with a list of one."""
    all_called(steps, COORDINATOR_SAVES, rank=rank)
    for name, given in steps:
        if name in ("writer.prepare_global_plan", "planner.create_global_plan"):
            must(given == "1", otherwise=f"{name} was given {given} plans instead of its own", kind="plans", rank=rank)
