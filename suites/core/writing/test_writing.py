"""What a planner hands over is stored: all of it, once, from any thread, rank, layout and option."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.laws.shared_failures import must_fail_everywhere
from dcp_conformance.harness.laws.verbs import (
    Untestable,
    must,
    must_match,
    must_return,
    must_succeed,
    needs_reached,
)
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.core.writing import on_ranks_writing as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.writing.on_ranks_writing")

if TYPE_CHECKING:
    from dcp_conformance.suites.core.writing import on_ranks_writing_sizes as of_sizes
else:
    of_sizes = module_on_ranks("dcp_conformance.suites.core.writing.on_ranks_writing_sizes")

if TYPE_CHECKING:
    from dcp_conformance.suites.core.writing import on_ranks_writing_alike as alike
else:
    alike = module_on_ranks("dcp_conformance.suites.core.writing.on_ranks_writing_alike")

if TYPE_CHECKING:
    from dcp_conformance.suites.core.writing import on_ranks_writing_formats as in_formats
else:
    in_formats = module_on_ranks("dcp_conformance.suites.core.writing.on_ranks_writing_formats")

LAYOUTS = (
    "transposed", "strided", "offset", "column", "expanded", "expanded_scalar", "flipped", "channels_last",
    "channels_last_3d", "permuted", "unfolded", "conjugated", "negated", "dense_negated", "narrow_negated",
)  # fmt: skip
VIEW_OVERHEAD = 64 * 1024


@pytest.mark.clauses("WRITE-01", "WRITE-06")
@pytest.mark.worlds(1, 2)
def test_every_item_is_stored_and_reported_once_and_its_source_left_alone(subject: Subject, world: int) -> None:
    observed = subject.observe(world, on_ranks.recorded_save)
    with subject.promise("WRITE-06"):
        must_match([source for _, _, source, _ in observed], "the state after it was saved")
    with subject.promise("WRITE-01"):
        for rank, (planned, reported, _, _) in enumerate(observed):
            if reported is None:
                raise Untestable("write_data of the writer that was passed to save was never called")
            surplus, missing = Counter(reported) - Counter(planned), Counter(planned) - Counter(reported)
            must(
                not surplus and not missing,
                otherwise=f"results lack {list(missing)} and repeat or add {list(surplus)}",
                rank=rank,
            )
        must_match([loaded for _, _, _, loaded in observed])


@pytest.mark.clauses("WRITE-01")
def test_any_number_of_items_is_stored(subject: Subject) -> None:
    must_match(subject.observe(1, of_sizes.any_number_of_items))


@pytest.mark.clauses("WRITE-01")
def test_tensors_are_stored_whole_whatever_their_size(subject: Subject) -> None:
    must_match(subject.observe(1, of_sizes.dense_at_borders))


@pytest.mark.clauses("WRITE-01")
def test_values_that_differ_in_one_place_are_told_apart(subject: Subject) -> None:
    must_match(subject.observe(1, alike.alike_in_one_save))


@pytest.mark.clauses("WRITE-01")
@pytest.mark.worlds(1, 2)
@pytest.mark.parametrize("objects", (False, True), ids=("tensors", "objects"))
def test_names_like_each_other_lead_to_their_own_values(subject: Subject, world: int, objects: bool) -> None:
    for save, found in enumerate(zip(*subject.observe(world, alike.names_in_one_save, objects), strict=True), 1):
        must_match(found, f"what save {save} of names that are like each other gave")


@pytest.mark.clauses("WRITE-02")
def test_data_is_taken_from_the_planner_while_writing(subject: Subject) -> None:
    (early, asked, loaded) = subject.alone(on_ranks.resolve_late_and_changed)
    must(early == 0, otherwise=f"resolve_data was called {early} times before write_data began", kind="too early")
    must(asked > 0, otherwise="resolve_data of the planner was never called", kind="never asked")
    must_match([loaded])


@pytest.mark.clauses("WRITE-17")
def test_buffers_are_stored_whole_wherever_their_position_stands(subject: Subject) -> None:
    must_match(subject.observe(1, on_ranks.buffers_at_any_position), "what load_bytes was given")


@pytest.mark.clauses("WRITE-03")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_exactly_the_elements_of_a_layout_are_stored(subject: Subject, layout: str) -> None:
    observed = subject.observe(1, on_ranks.layout_round_trip, layout)
    must_match(observed)


@pytest.mark.clauses("WRITE-03")
def test_layouts_of_one_memory_are_told_apart(subject: Subject) -> None:
    must_match(subject.observe(1, on_ranks.layouts_of_one_memory))


@pytest.mark.clauses("WRITE-03")
def test_layouts_are_stored_whole_whatever_their_size(subject: Subject) -> None:
    must_match(subject.observe(1, of_sizes.layouts_at_borders))


@pytest.mark.clauses("WRITE-04")
def test_small_view_of_a_large_buffer_takes_little_space(subject: Subject) -> None:
    sizes = subject.alone(on_ranks.stored_bytes_of_view)
    view, clone = sizes
    must(
        view <= clone + VIEW_OVERHEAD,
        otherwise=f"a view of one element took {view} bytes, and its clone {clone}",
        kind="space",
    )


@pytest.mark.clauses("WRITE-07")
@pytest.mark.worlds(1, 2)
def test_every_option_set_gives_the_same_values(subject: Subject, world: int) -> None:
    for rank, sets in enumerate(subject.observe(world, on_ranks.every_option_set)):
        for options, attempt, found in sets:
            must_succeed(attempt, f"a save with {options} and its load", rank=rank)
            must_match([found], f"the state loaded after a save with {options}")


@pytest.mark.clauses("WRITE-07")
@pytest.mark.worlds(1, 2)
def test_format_that_a_writer_offers_can_be_loaded(subject: Subject, world: int) -> None:
    for rank, tried in enumerate(subject.observe(world, in_formats.every_format)):
        for seen in tried:
            if seen.load is not None:
                must_succeed(seen.load, f"a load of what was saved as {seen.said}", rank=rank)
                must_match([seen.found], f"the state saved as {seen.said}")


@pytest.mark.clauses("WRITE-08")
@pytest.mark.worlds(1, 2)
def test_failed_write_future_fails_the_save(subject: Subject, world: int) -> None:
    last = world - 1
    outcomes = subject.run(world, on_ranks.save_with_failed_future, Fault(phase="write_data_future", ranks=(last,)))
    attempts = must_return(outcomes)
    needs_reached(outcomes, "write_data_future", (last,))
    must_fail_everywhere(attempts)


@pytest.mark.clauses("WRITE-11")
@pytest.mark.parametrize("busy", (0, 1), ids=("coordinator_writes", "other_rank_writes"))
def test_rank_with_nothing_to_write_takes_part(subject: Subject, busy: int) -> None:
    must_match(subject.observe(2, on_ranks.idle_rank, busy))


@pytest.mark.clauses("WRITE-12")
@pytest.mark.worlds(2, 4)
@pytest.mark.parametrize("descending", (False, True), ids=("first_rank_first", "last_rank_first"))
def test_ranks_never_damage_what_other_ranks_store(subject: Subject, world: int, descending: bool) -> None:
    must_match(subject.observe(world, on_ranks.staggered_ranks, descending))
