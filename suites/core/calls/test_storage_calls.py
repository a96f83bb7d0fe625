"""What a writer and a reader must take from any engine, and how often they may be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.cluster import ExceptionRecord
from dcp_conformance.harness.laws.verbs import (
    NotApplicable,
    described,
    must,
    must_match,
    must_refuse,
    must_return,
    must_succeed,
    needs_reached,
)
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.core.calls import on_ranks_storage_calls as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.calls.on_ranks_storage_calls")


@pytest.mark.clauses("API-09")
def test_reset_forgets_the_earlier_checkpoint(subject: Subject) -> None:
    found = subject.alone(on_ranks.used_again)
    for turn, different in found.items():
        must_match([different], f"what came back in {turn}")


@pytest.mark.clauses("API-09")
def test_reset_forgets_that_one_rank_was_asked_for(subject: Subject) -> None:
    found = subject.alone(on_ranks.used_again_after_one_rank)
    if not found:
        raise NotApplicable("there is no metadata of single ranks here")
    for turn, different in found.items():
        must_match([different], f"what came back in {turn}")


@pytest.mark.clauses("API-09")
def test_reader_sees_the_store_as_it_is_now(subject: Subject) -> None:
    found = subject.alone(on_ranks.seen_as_it_is)
    if not found:
        raise NotApplicable("an id cannot be saved twice here")
    for turn, different in found.items():
        must_match([different], f"what came back in {turn}")


@pytest.mark.clauses("API-10")
def test_question_about_an_id_is_answered_and_changes_nothing(subject: Subject) -> None:
    found = subject.alone(on_ranks.asked_about_ids)
    for which, attempt in found["raised"].items():
        must_succeed(attempt, f"validate_checkpoint_id of the {which}", rank=0)
    for which, kind in found["answers"].items():
        must(
            kind == "bool",
            otherwise=f"validate_checkpoint_id of the {which} answered a {kind} instead of a bool",
            kind="answer",
        )
    must(not found["appeared"], otherwise=f"validate_checkpoint_id made {found['appeared']}", kind="side effect")


@pytest.mark.clauses("API-29", "API-30")
def test_classes_know_their_own_ids_from_foreign_ones(subject: Subject) -> None:
    for who, said in subject.alone(on_ranks.believed_of_ids).items():
        with subject.promise("API-29"):
            must(said["served"], otherwise=f"the {who} says False of an id that it has just served", kind="answer")
        with subject.promise("API-30"):
            must(
                not said["foreign"],
                otherwise=f"the {who} says True of an id whose scheme does not exist",
                kind="answer",
            )


@pytest.mark.clauses("API-20")
def test_no_threads_at_all_are_refused_by_name(subject: Subject) -> None:
    attempt = subject.alone(on_ranks.no_threads)
    text = whole_text(must_refuse(attempt, "a save with zero threads", rank=0))
    must(
        "thread" in text.lower(),
        otherwise=f"zero threads were refused with {text[:200]!r}, which does not say so",
        kind="unclear",
    )


@pytest.mark.clauses("API-20")
def test_file_in_the_place_of_a_checkpoint_is_refused_by_name(subject: Subject) -> None:
    found = subject.alone(on_ranks.file_in_the_way)
    must(not found["folder"], otherwise="the file whose name was given as id was replaced by a folder", kind="changed")
    if found["save"].ok:
        raise NotApplicable("a checkpoint is a single file here, so a file is no impossible id")
    text = whole_text(found["save"].error)
    must(
        found["name"] in text,
        otherwise=f"an id that is a file was refused with {text[:200]!r}, which does not name it",
        kind="unclear",
    )
    must(found["kept"], otherwise="the file whose name was given as id was changed", kind="changed")


@pytest.mark.clauses("API-21", "LOG-06")
def test_load_of_nothing_fails_by_name_and_leaves_nothing(subject: Subject) -> None:
    found = subject.alone(on_ranks.load_of_nothing)
    with subject.promise("API-21"):
        for attempt in found["loads"]:
            must_refuse(attempt, "a load of an id at which nothing was saved", rank=0)
        must(
            not found["traces"],
            otherwise=f"a load of an id at which nothing was saved left {found['traces']}",
            kind="created",
        )
    with subject.promise("LOG-06"):
        for attempt in found["loads"]:
            must_refuse(attempt, "a load of an id at which nothing was saved", rank=0)
            said = f"{described(attempt.error)!r} does not name the id {found['name']!r}"
            must(found["name"] in whole_text(attempt.error), otherwise=said, kind="unclear")


@pytest.mark.clauses("API-24")
def test_documented_arguments_alone_are_enough(subject: Subject) -> None:
    must_match(subject.observe(1, on_ranks.positional_arguments_alone))


@pytest.mark.clauses("API-24")
def test_keywords_of_a_later_engine_are_ignored(subject: Subject) -> None:
    observed = subject.observe(1, on_ranks.unknown_keywords)
    must_match(observed)


@pytest.mark.clauses("API-27")
def test_pickled_writer_and_reader_work_in_a_new_process(subject: Subject) -> None:
    found = subject.alone(on_ranks.pickled_elsewhere)
    for what, different in found.items():
        must_match([different], what)


@pytest.mark.clauses("API-28")
@pytest.mark.parametrize("how", ("failed", "interrupted"))
@pytest.mark.parametrize("reset", (True, False), ids=("after_a_reset", "just_so"))
def test_writer_works_after_a_failed_save(subject: Subject, reset: bool, how: str) -> None:
    outcomes = subject.run(1, on_ranks.writer_after_failure, reset, how)
    [found] = must_return(outcomes)
    if found is None:
        raise NotApplicable("an id cannot be saved twice here, and what a failed save leaves may count as the first")
    needs_reached(outcomes, "resolve_data", (0,))
    used_after_failure(found, "a save whose planner raised", "a save with the writer of a failed one")


@pytest.mark.clauses("API-28")
@pytest.mark.parametrize("how", ("failed", "interrupted"))
@pytest.mark.parametrize("reset", (True, False), ids=("after_a_reset", "just_so"))
def test_reader_works_after_a_failed_load(subject: Subject, reset: bool, how: str) -> None:
    outcomes = subject.run(1, on_ranks.reader_after_failure, reset, how)
    [found] = must_return(outcomes)
    needs_reached(outcomes, "resolve_tensor", (0,))
    used_after_failure(found, "a load whose planner raised", "a load with the reader of a failed one")


def used_after_failure(found: dict[str, object], first: str, second: str) -> None:
    """Broken unless the first operation failed as it was made to, and the second kept every value."""
    must_refuse(found["failed"], first, rank=0)  # type: ignore[arg-type]
    must_succeed(found["again"], second, rank=0)  # type: ignore[arg-type]
    must_match([found["differences"]], f"what came of {second}")  # type: ignore[list-item]
    surplus = found["surplus"]
    must(not surplus, otherwise=f"{second} reported results for {surplus}, which it did not save", kind="left over")


def whole_text(error: ExceptionRecord) -> str:
    """Everything that an exception says: its own text, what each failing rank raised, and what caused it."""
    inner = [*(error.failures or {}).values(), *([error.cause] if error.cause else [])]
    return " ".join([f"{error.type_name}: {error.text}", *map(whole_text, inner)])
