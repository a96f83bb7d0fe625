"""Laws about plans: who writes what. They judge write results, (rank, name, offset) each, as `finish` got them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from dcp_conformance.harness.laws.verbs import Broken, NotApplicable, must

Written = Sequence[tuple[int, str, tuple[int, ...] | None]]


def seen(values: Sequence[Written | None]) -> Written:
    """The write results that a rank saw; NotApplicable where no rank saw any."""
    for value in values:
        if value is not None:
            return value
    raise NotApplicable("the engine drives no foreign storage, so its plans are its own business")


def written_once(results: Written) -> None:
    """Broken if a piece of data, by name and offset, was written by more than one rank or more than once."""
    for (name, offset), count in Counter((name, offset) for _rank, name, offset in results).items():
        ranks = sorted({rank for rank, *piece in results if tuple(piece) == (name, offset)})
        must(
            count == 1,
            otherwise=f"{name!r} at offset {offset} was written {count} times, by ranks {ranks}",
            kind="written twice",
        )


def written_by(results: Written, names: Sequence[str], rank: int) -> None:
    """Broken if any of these values was written by another rank."""
    for writer, name, _offset in results:
        if name in names:
            must(
                writer == rank,
                otherwise=f"{name!r} was written by rank {writer}, and rank {rank} holds it too",
                kind="owner",
            )


def spread(results: Written, most: int) -> None:
    """Broken if one rank wrote more than `most` of the values."""
    for rank, count in Counter(rank for rank, _name, _offset in results).items():
        must(count <= most, otherwise=f"rank {rank} wrote {count} of {len(results)} equal tensors", kind="balance")


def balanced(results: Written, sizes: Mapping[str, int], ranks: int, tolerance: float) -> None:
    """Broken if a rank wrote more than `tolerance` times the mean. sizes: elements of one piece of each name."""
    loads = Counter(dict.fromkeys(range(ranks), 0))
    for rank, name, _offset in results:
        loads[rank] += sizes[name]
    mean = sum(loads.values()) / ranks
    rank, most = loads.most_common(1)[0]
    shares = ", ".join(str(loads[rank]) for rank in range(ranks))
    must(
        most <= tolerance * mean,
        otherwise=f"the ranks wrote {shares} elements, where {mean:g} each was possible",
        kind="balance",
        rank=rank,
    )


def same_owners(runs: Sequence[Written]) -> None:
    """Broken if the owners differ between runs of one state."""
    for number, run in enumerate(runs):
        if sorted(run, key=repr) != sorted(runs[0], key=repr):
            moved = sorted(set(run) ^ set(runs[0]), key=repr)[0]
            raise Broken(f"run {number} has other owners than run 0, first for {moved[1]!r}", kind="owners differ")


def plans_in_order(
    calls: Sequence[Sequence[tuple[list[list[str]], list[list[str]]]]], given: Sequence[Sequence[str]]
) -> None:
    """Broken unless rank 0 alone was given the plans of all ranks in their order. given: names of each rank's plan."""
    for rank, own in enumerate(calls):
        wanted = 1 if rank == 0 else 0
        must(
            len(own) == wanted,
            otherwise=f"prepare_global_plan ran {len(own)} times, not {wanted}",
            kind="coordinator",
            rank=rank,
        )
    plans = calls[0][0][0]
    must(
        plans == [sorted(names) for names in given],
        otherwise=f"prepare_global_plan was given {plans}",
        kind="order of plans",
        rank=0,
    )


def plans_returned(calls: Sequence[Sequence[tuple[list[list[str]], list[list[str]]]]]) -> None:
    """Broken unless each call gave back as many plans as it got, each with the names of the one in its place."""
    for rank, own in enumerate(calls):
        for plans, results in own:
            must(
                plans == results,
                otherwise=f"prepare_global_plan made {results} of {plans}",
                kind="plans exchanged",
                rank=rank,
            )


def own_plan_only(
    calls: Sequence[Sequence[tuple[list[list[str]], list[list[str]]]]], given: Sequence[Sequence[str]]
) -> None:
    """Broken unless every rank ran prepare_global_plan once, on a list of its own plan."""
    for rank, own in enumerate(calls):
        must(len(own) == 1, otherwise=f"prepare_global_plan ran {len(own)} times, not once", kind="own plan", rank=rank)
        must(
            own[0][0] == [sorted(given[rank])],
            otherwise=f"prepare_global_plan was given {own[0][0]}",
            kind="own plan",
            rank=rank,
        )


def paths_complete(
    found: Sequence[Sequence[tuple[str, tuple[object, ...] | None]]], wanted: Sequence[tuple[object, ...]]
) -> None:
    """Broken unless every rank was told a path for every key, and the paths in `wanted` are among them."""
    for rank, pairs in enumerate(found):
        for key, path in pairs:
            must(
                path is not None,
                otherwise=f"the metadata does not say where {key!r} belongs",
                kind="no path",
                rank=rank,
            )
        for path in wanted:
            must(
                path in [path for _key, path in pairs],
                otherwise=f"the metadata has no key of the path {path}",
                kind="no path",
                rank=rank,
            )
