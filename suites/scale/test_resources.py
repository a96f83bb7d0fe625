"""Operations leave nothing behind, and need no more than what they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import must, must_match, must_succeed
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.scale import on_ranks_resources as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.scale.on_ranks_resources")

MIB = 1 << 20


@pytest.mark.clauses("RSRC-06")
def test_operations_leave_no_thread_process_or_temporary_object(subject: Subject) -> None:
    found = subject.alone(on_ranks.left_behind, 8)
    threads, processes, _ = found[0]
    for number, (later_threads, later_processes, new) in enumerate(found, start=3):
        left = f"after operation {number} there are {later_threads} threads and {later_processes} child processes"
        grown = later_threads > threads or later_processes > processes
        must(not grown, otherwise=f"{left}; after the third there were {threads} and {processes}", kind="left behind")
        must(
            not new,
            otherwise=f"operations left {new[:3]} beside the checkpoints or among temporary files",
            kind="stray",
        )


@pytest.mark.clauses("RSRC-06")
def test_stored_size_of_random_bytes_is_about_their_number(subject: Subject) -> None:
    size = 8 * MIB
    stored = subject.alone(on_ranks.size_of_random_bytes, size)
    most = size * 5 // 4 + 65536
    must(stored <= most, otherwise=f"{stored} bytes are stored for {size} random ones", kind="size")


@pytest.mark.clauses("RSRC-07")
def test_memory_does_not_grow_over_operations(subject: Subject) -> None:
    (early, late) = subject.alone(on_ranks.memory_over_operations, 5, 15, 16 * MIB)
    grown = (late - early) / MIB
    must(grown < 32, otherwise=f"memory grew by {grown:.0f} MiB between rounds 5 and 15 of 16 MiB each", kind="memory")


@pytest.mark.clauses("RSRC-01")
def test_saving_views_takes_memory_for_a_few_of_them(subject: Subject) -> None:
    extra = subject.alone(on_ranks.peak_of_saving_views, 20, 8_000_000)
    # Several copies of one view at a time are allowed, half of all views are not.
    must(
        extra < 80_000_000,
        otherwise=f"saving 20 views of 8 MB each took {extra / 1e6:.0f} MB of extra memory",
        kind="memory",
    )


@pytest.mark.clauses("RSRC-04")
def test_staging_a_view_copies_no_more_than_it_shows(subject: Subject) -> None:
    extra = subject.alone(on_ranks.peak_of_staging_a_view, 10, 120_000_000)
    must(
        extra < 60_000_000, otherwise=f"staging 40 bytes of a buffer of 120 MB took {extra / 1e6:.0f} MB", kind="memory"
    )


@pytest.mark.clauses("RSRC-02")
def test_loading_a_row_takes_memory_for_a_row(subject: Subject) -> None:
    (_, extra, found) = subject.alone(on_ranks.read_pieces, 64, 64 * MIB, [5])
    must_match([found])
    must(
        extra < 32 * MIB,
        otherwise=f"loading 1 MiB of a chunk of 64 took {extra / MIB:.0f} MiB of extra memory",
        kind="memory",
    )


@pytest.mark.clauses("RSRC-03")
def test_chunk_is_not_fetched_again_for_every_piece(subject: Subject) -> None:
    size = 16 * MIB
    (read, _, found) = subject.alone(on_ranks.read_pieces, 64, size, [1, 9, 33, 60])
    must_match([found])
    times = read / size
    must(
        times < 2, otherwise=f"loading 4 rows of one chunk of 16 MiB read {times:.1f} times its size", kind="read again"
    )


@pytest.mark.clauses("RSRC-10")
def test_a_thousand_keys_need_few_descriptors(subject: Subject) -> None:
    (saved, loaded, found) = subject.alone(on_ranks.under_descriptor_limit, 1000, 512)
    must_succeed(saved, "a save of 1000 keys under a limit of 512 open descriptors", rank=0)
    must_succeed(loaded, "a load of 1000 keys under a limit of 512 open descriptors", rank=0)
    must_match([found])
