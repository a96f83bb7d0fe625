"""Checkpoints become files of torch.save and the other way round, with nothing lost; and files load directly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.cluster import ExceptionRecord
from dcp_conformance.harness.laws.observations import Attempt
from dcp_conformance.harness.laws.shared_failures import failures_of
from dcp_conformance.harness.laws.verbs import Broken, described, must, must_match, must_name, must_refuse
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.compatibility.utilities import on_ranks_utilities as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.compatibility.utilities.on_ranks_utilities")


SEEDS = [11, 12, 13, 14, 15, 16, 17, 18]
# Far more than the work takes, and less than the suite's own patience: a rank that waits for another waits for ever.
SECONDS = 10.0


@pytest.mark.clauses("UTIL-01")
def test_checkpoint_becomes_a_file_with_the_same_content(subject: Subject) -> None:
    must_match(subject.observe(1, on_ranks.checkpoint_to_file), "the content of the file")


@pytest.mark.clauses("UTIL-02")
@pytest.mark.parametrize("form", ["zip", "old"])
def test_file_becomes_a_checkpoint_that_loads_into_a_new_model(subject: Subject, form: str) -> None:
    must_match(subject.observe(1, on_ranks.file_to_checkpoint, form))


@pytest.mark.clauses("UTIL-03")
@pytest.mark.parametrize("kind", ["FSDP", "fully_shard"])
def test_file_loads_straight_into_a_sharded_model(subject: Subject, kind: str) -> None:
    must_match(subject.observe(2, on_ranks.file_into_sharded_model, kind, timeout=SECONDS))


@pytest.mark.clauses("UTIL-04")
def test_value_that_is_no_tensor_is_refused_by_name_on_every_rank(subject: Subject) -> None:
    outcomes = subject.observe(2, on_ranks.file_into_template, {"step": 0}, timeout=SECONDS)
    for rank, attempt in enumerate(outcomes):
        must_name(attempt, ["step"], "loading an int directly from a file", rank=rank)
        told = _told(attempt)
        must(
            any(error.is_a("RuntimeError") for error in told),
            otherwise=f"it raised {described(told[0])}",
            rank=rank,
        )


@pytest.mark.clauses("UTIL-05")
def test_key_that_the_file_lacks_fails_on_every_rank(subject: Subject) -> None:
    outcomes = subject.observe(2, on_ranks.file_into_template, {"nope": "tensor"}, timeout=SECONDS)
    for rank, attempt in enumerate(outcomes):
        must_refuse(attempt, "loading a key that the file lacks", rank=rank)


@pytest.mark.clauses("UTIL-06")
def test_file_loads_directly_without_a_process_group(subject: Subject) -> None:
    must_match(subject.observe(1, on_ranks.file_in_one_process))


@pytest.mark.clauses("UTIL-07")
@pytest.mark.parametrize("first", ["file", "checkpoint"])
def test_conversion_there_and_back_keeps_everything(subject: Subject, first: str) -> None:
    scenario = on_ranks.file_there_and_back if first == "file" else on_ranks.checkpoint_there_and_back
    must_match(subject.observe(1, scenario, SEEDS), "the state after both conversions")


@pytest.mark.clauses("UTIL-08")
@pytest.mark.parametrize("what", ["module", "list"])
def test_file_without_a_state_dict_is_refused_with_its_reason(subject: Subject, what: str) -> None:
    (attempt, path) = subject.alone(on_ranks.file_without_state, what)
    must_refuse(attempt, f"converting a file that holds a {what}", rank=0)
    texts = " ".join(error.text for error in _told(attempt))
    if path not in texts and not any(word in texts.lower() for word in ("dict", "mapping")):
        raise Broken(f"the refusal neither names the file nor says what was expected: {texts[:200]}", kind="text")


@pytest.mark.clauses("UTIL-09")
def test_converters_run_on_one_rank_of_a_group(subject: Subject) -> None:
    must_match(subject.observe(2, on_ranks.converters_on_rank_0, timeout=SECONDS))


def _told(attempt: Attempt) -> list[ExceptionRecord]:
    """The errors that an attempt was told of: those of each rank, or its own."""
    assert attempt.error is not None
    return list(failures_of(attempt).values()) or [attempt.error]
