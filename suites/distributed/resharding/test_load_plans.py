"""A load reads each element of a target once, from where it is stored, or says that it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.observations import Attempt
from dcp_conformance.harness.laws.verbs import NotApplicable, Untestable, must, must_match, must_refuse
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.distributed.resharding import on_ranks_load_plans as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.distributed.resharding.on_ranks_load_plans")


# name: (elements, stored chunks, held chunk, the reads as (stored chunk, offset in it, offset in the target, length))
EXACT = {
    "unchanged": (8, [(0, 4), (4, 4)], (4, 4), [(4, 0, 0, 4)]),
    "overlap_of_two": (16, [(0, 8), (8, 8)], (4, 7), [(0, 4, 0, 4), (8, 0, 4, 3)]),
    "from_8_to_4_ranks": (128, [(16 * n, 16) for n in range(8)], (32, 32), [(32, 0, 0, 16), (48, 0, 16, 16)]),
    "from_4_to_8_ranks": (128, [(32 * n, 32) for n in range(4)], (16, 16), [(0, 16, 0, 16)]),
    "from_4_to_3_ranks": (120, [(30 * n, 30) for n in range(4)], (40, 40), [(30, 10, 0, 20), (60, 0, 20, 20)]),
}
CLAUSE = {
    "unchanged": "RES-01", "overlap_of_two": "RES-02", "from_8_to_4_ranks": "RES-03", "from_4_to_8_ranks": "RES-03",
    "from_4_to_3_ranks": "RES-04",
}  # fmt: skip


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.clauses(CLAUSE[name])) for name in EXACT])
def test_planner_makes_the_documented_reads(subject: Subject, name: str) -> None:
    size, stored, held, wanted = EXACT[name]
    boxes: list[tuple[tuple[int, ...], tuple[int, ...]]] = [((offset,), (length,)) for offset, length in stored]
    reads = subject.observe(1, on_ranks.reads, (size,), boxes, ((held[0],), (held[1],)))[0]
    keys = ("storage_chunk", "storage_offsets", "target_offsets", "lengths")
    found = sorted(tuple(read[key][0] for key in keys) for read in reads)
    must(found == wanted, otherwise=f"the reads are {found}, not {wanted}", kind="reads")
    must(
        {read["target_chunk"] for read in reads} == {(held[0],)}, otherwise="the target chunk is another", kind="reads"
    )


@pytest.mark.clauses("RES-08")
def test_load_of_a_tensor_with_a_missing_part_fails(subject: Subject) -> None:
    observed = subject.observe(1, on_ranks.load_without_a_chunk, group=True)[0]
    if observed is None:
        raise NotApplicable("the engine drives no foreign storage, so no metadata can be changed on its way")
    load, reached = observed
    if not reached:
        raise Untestable("the metadata was never read through the reader's read_metadata")
    must_refuse(load, "a load that could fill 3 of 8 elements", rank=0)


@pytest.mark.clauses("RES-09")
@pytest.mark.parametrize(
    ("saved", "wanted"),
    (
        ((2, 3), (3, 2)), ((), (1,)), ((1,), ()), ((6,), (2, 3)), ((4,), (5,)), ((5,), (4,)),
        # What broadcasting, or a squeeze, would make fit.
        ((4, 1), (4,)), ((4,), (4, 1)), ((1, 4), (4,)), ((4,), (1, 4)), ((1,), (4,)), ((3, 1, 2), (3, 2)),
    ),
)  # fmt: skip
def test_tensor_of_another_shape_is_refused_by_name(
    subject: Subject, saved: tuple[int, ...], wanted: tuple[int, ...]
) -> None:
    refused_by_name(
        subject.observe(1, on_ranks.load_into_other_shape, saved, wanted)[0],
        f"a load of shape {saved} into shape {wanted}",
    )


@pytest.mark.clauses("RES-09")
def test_partial_load_refuses_another_shape_all_the_same(subject: Subject) -> None:
    load = subject.alone(on_ranks.load_into_other_shape, (4,), (5,), True)
    refused_by_name(load, "a partial load of shape (4,) into shape (5,)")


def refused_by_name(load: Attempt, what: str) -> None:
    """Broken unless a load failed with an error that names the key of load_into_other_shape."""
    must_refuse(load, what, rank=0)
    assert load.error is not None
    texts = [load.error.text, *(error.text for error in (load.error.failures or {}).values())]
    must(
        any("shaped" in text for text in texts),
        otherwise=f"the error does not name the key: {texts[-1][:120]}",
        kind="not named",
    )


@pytest.mark.clauses("RES-13")
def test_tensors_without_dimensions_or_elements_load(subject: Subject) -> None:
    must_match(subject.observe(1, on_ranks.small_tensors))


@pytest.mark.clauses("RES-18")
@pytest.mark.parametrize(
    ("size", "stored", "wanted", "seed"),
    (
        ((128,), 8, 4, 0),
        ((128,), 4, 8, 0),
        ((120,), 4, 3, 0),
        ((7, 11), 9, 5, 2),
        ((5, 4, 6), 11, 7, 4),
        ((13, 2), 3, 12, 6),
    ),
    ids=("8to4", "4to8", "4to3", "random2d", "random3d", "random_narrow"),
)
def test_load_reads_every_element_once_from_its_place(
    subject: Subject, size: tuple[int, ...], stored: int, wanted: int, seed: int
) -> None:
    found, miscounted = subject.observe(1, on_ranks.blocks_to_blocks, size, stored, wanted, seed, group=True)[0]
    must_match([found])
    must(not miscounted, otherwise="; ".join(miscounted), kind="elements read")


@pytest.mark.clauses("RES-18")
@pytest.mark.parametrize("order", ("parts_alone", "parts_first", "parts_last"))
def test_targets_that_share_some_of_their_memory_are_filled(subject: Subject, order: str) -> None:
    must_match(subject.observe(1, on_ranks.shared_memory, order))


@pytest.mark.clauses("RES-16", "RES-18")
@pytest.mark.parametrize(
    ("ranks", "size", "stored", "wanted"),
    ((1, (40, 30), 200, 150), (3, (12, 10, 8), 100, 120)),
    ids=("1rank2d", "3ranks3d"),
)
def test_hundreds_of_interleaved_blocks_load_as_others(
    subject: Subject, ranks: int, size: tuple[int, ...], stored: int, wanted: int
) -> None:
    for found, miscounted in subject.observe(ranks, on_ranks.blocks_to_blocks, size, stored, wanted, 10, group=True):
        must_match([found])
        must(not miscounted, otherwise="; ".join(miscounted), kind="elements read")
