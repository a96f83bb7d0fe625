"""What an operator can see of saves and loads, and that seeing never harms them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import (
    Broken,
    NotApplicable,
    must,
    must_match,
    must_return,
    must_succeed,
    needs_reached,
)
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.core.calls import on_ranks_logging as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.calls.on_ranks_logging")

ENDED_BADLY = re.compile(r"exception|fail|error", re.IGNORECASE)
# An id of a call: at least six hexadecimal or decimal digits, as of a uuid or a counter with leading zeros.
CALL_ID = re.compile(r"(?<![0-9A-Za-z])[0-9a-fA-F]{6,}(?:-[0-9a-fA-F]{4,})*(?![0-9A-Za-z])")
NUMBER = re.compile(r"\d+(?:\.\d+)?")


@pytest.mark.clauses("LOG-01")
def test_logger_of_collectives_is_not_used(subject: Subject) -> None:
    found = subject.alone(on_ranks.of_collectives, group=True)
    counts = (found["before"], found["handlers"])
    must(
        counts == (1, 1),
        otherwise=f"the logger of collectives had {counts[0]} handlers and now has {counts[1]}",
        kind="handlers",
    )
    must(
        not found["told"],
        otherwise=f"{len(found['told'])} records about the checkpoint went to the logger of collectives",
        kind="mixed",
    )


@pytest.mark.clauses("LOG-02")
def test_log_tells_begin_and_end_of_each_call(subject: Subject) -> None:
    for rank, found in enumerate(subject.observe(2, on_ranks.told_of_calls)):
        seen = shared([text for texts in found.values() for text in texts])
        for call, records in found.items():
            first, last, own = begun_and_ended(call, records, rank, seen)
            fresh = set(NUMBER.findall(last)) - set(NUMBER.findall(first))
            must(
                bool(fresh),
                otherwise=f"the last record of a {call} has no number that could be its duration: {last[:200]!r}",
                rank=rank,
            )
            seen |= own
        failing = [text for text in found["failing load"] if ENDED_BADLY.search(text)]
        must(bool(failing), otherwise="no record of a failing load tells that it failed", kind="no failure", rank=rank)


@pytest.mark.clauses("LOG-03")
def test_failure_that_nobody_asks_about_is_seen(subject: Subject) -> None:
    outcomes = subject.run(1, on_ranks.unnoticed_failure)
    [call] = must_return(outcomes)
    if call is None:
        raise NotApplicable("there is no async_save; the failure of a call that waits is raised")
    needs_reached(outcomes, "write_data", (0,))
    text = outcomes[0].output
    seen = not call.ok or "injected by dcp-conformance" in text or "OSError" in text
    must(
        seen,
        otherwise="an asynchronous save failed, nobody asked its future, and not a word of it was printed",
        kind="silent",
    )


@pytest.mark.clauses("LOG-04")
def test_unprintable_id_and_object_do_not_fail_a_call(subject: Subject) -> None:
    found = subject.alone(on_ranks.hostile_to_logging)
    for call in ("save", "load"):
        must_succeed(found[call], f"a {call} whose id cannot be printed in a log line", rank=0)
    must_match([found["differences"]])


@pytest.mark.clauses("LOG-05")
def test_overwriting_is_warned_of(subject: Subject) -> None:
    (first, second) = subject.alone(on_ranks.warned_of_overwrite)
    new = [text for text in second if text not in first]
    must(
        bool(new),
        otherwise="a save to an id that holds a checkpoint gave no warning that the first save did not give",
        kind="silent",
    )


def begun_and_ended(call: str, records: list[str], rank: int, seen: set[str]) -> tuple[str, str, set[str]]:
    """The first and last record of a call that tell its checkpoint, its rank and an id of its own, and these ids."""
    of_rank = [text for text in records if re.search(rf"rank\W{{0,5}}{rank}(?!\d)", text, re.IGNORECASE)]
    if len(of_rank) < 2:
        counts = f"{len(records)} records that name its checkpoint, {len(of_rank)} of them with its rank"
        raise Broken(f"a {call} logged {counts}; it needs two", kind="silent", rank=rank)
    ids = [set(CALL_ID.findall(text)) - seen for text in of_rank]
    joined = {found for found in set.union(*ids) if sum(found in one for one in ids) > 1}
    if not joined:
        raise Broken(f"no id of the call joins two records of a {call}", kind="no id", rank=rank)
    own = [text for text, one in zip(of_rank, ids, strict=True) if one & joined]
    return own[0], own[-1], joined


def shared(records: list[str]) -> set[str]:
    """What looks like an id of a call but is in every record: part of a path, or of the job."""
    return set.intersection(*(set(CALL_ID.findall(text)) for text in records)) if records else set()
