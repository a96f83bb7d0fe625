"""What is not a tensor is stored as one value and comes back equal, of its own type, in the place of the old one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.shared_failures import must_blame_exactly, must_fail_everywhere
from dcp_conformance.harness.laws.verbs import must, must_match, must_refuse, must_succeed
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.core.values import on_ranks_objects as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.values.on_ranks_objects")


@pytest.mark.clauses("BYTE-01")
def test_objects_come_back_equal_and_of_their_type(subject: Subject) -> None:
    must_match(subject.observe(1, on_ranks.objects_come_back))


@pytest.mark.clauses("BYTE-01")
def test_named_tuples_and_dataclasses_come_back_of_their_type(subject: Subject) -> None:
    must_match(subject.observe(1, on_ranks.records_come_back))


@pytest.mark.clauses("BYTE-01")
def test_objects_replace_those_that_only_equal_them(subject: Subject) -> None:
    must_match(subject.observe(1, on_ranks.load_over_equals))


@pytest.mark.clauses("BYTE-02")
def test_stored_lists_and_strings_replace_those_of_the_template(subject: Subject) -> None:
    must_match(subject.observe(1, on_ranks.load_over, [([1], [2]), ("string", "other"), (7, 8), ({"a"}, {"b"})]))


@pytest.mark.clauses("BYTE-04")
def test_list_of_numbers_is_replaced_whole_whatever_its_length(subject: Subject) -> None:
    pairs = [([1, 2, 3], [9]), ([1], [7, 8, 9]), ([1, [2, 3]], [4]), ([1, 2], [])]
    must_match(subject.observe(1, on_ranks.load_over, pairs))


@pytest.mark.clauses("BYTE-04")
def test_lists_are_replaced_where_the_template_has_one_list_in_several_places(subject: Subject) -> None:
    must_match(subject.observe(1, on_ranks.load_over_one_list))


@pytest.mark.clauses("BYTE-03")
def test_byte_streams_come_back_with_their_content(subject: Subject) -> None:
    must_match(subject.observe(1, on_ranks.streams))


@pytest.mark.clauses("BYTE-05")
def test_unserialisable_value_fails_the_save_and_spares_the_old_checkpoint(subject: Subject) -> None:
    (attempt, later, found) = subject.alone(on_ranks.unserialisable_overwrite)
    must_refuse(attempt, "a save of a value that cannot be serialised", rank=0)
    must_succeed(later, "a load of what was saved before", rank=0)
    must_match([found], "the state saved before")


@pytest.mark.clauses("BYTE-06")
def test_tuple_is_loaded_whole_with_new_tensors(subject: Subject) -> None:
    (found, kept) = subject.alone(on_ranks.tuple_with_tensors)
    must_match([found])
    must(not kept, otherwise=f"the tensors {kept} of the tuple are the template's own objects", kind="identity", rank=0)


@pytest.mark.clauses("BYTE-07")
def test_planner_is_handed_exactly_the_stored_bytes_from_their_start(subject: Subject) -> None:
    wrong = subject.alone(on_ranks.handed_streams)
    must(not wrong, otherwise=f"load_bytes got {'; '.join(wrong[:3])}", kind="stream", rank=0)


@pytest.mark.clauses("BYTE-09")
def test_stream_that_a_planner_keeps_stays_as_it_is(subject: Subject) -> None:
    wrong = subject.alone(on_ranks.kept_streams)
    must(not wrong, otherwise=f"after the load, {'; '.join(wrong[:3])}", kind="stream", rank=0)


@pytest.mark.clauses("BYTE-08")
def test_object_of_a_vanished_class_fails_the_load_of_its_rank(subject: Subject) -> None:
    attempts = subject.observe(1, on_ranks.class_vanished)
    must_fail_everywhere(attempts)
    must_blame_exactly(attempts, [0])
