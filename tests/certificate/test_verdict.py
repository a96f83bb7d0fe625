from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcp_conformance.harness.verdicts.verdict import CaseOutcome, Finding, Verdict, clause_result
from tests.certificate.samples import clause, entries, known, outcome

CLAUSE = clause("FIN-01")


def result_of(*outcomes: CaseOutcome, **more):
    return clause_result(CLAUSE, outcomes, **more)


def test_verdicts_are_ordered_as_documented():
    words = ["not-applicable", "pass", "untestable", "fail", "hang", "harness-error"]
    assert [verdict.word for verdict in sorted(Verdict)] == words
    assert [Verdict.of(word) for word in words] == sorted(Verdict)


@settings(derandomize=True)
@given(st.lists(st.sampled_from(Verdict), min_size=1))
def test_merge_is_the_maximum_in_any_order(verdicts):
    assert {Verdict.merge(order) for order in itertools.permutations(verdicts[:4])} == {max(verdicts[:4])}


def test_merge_of_nothing_is_untestable():
    assert Verdict.merge([]) is Verdict.UNTESTABLE


def test_no_outcome_is_not_exercised():
    assert (result_of().verdict, result_of().standing) == (None, "not exercised")


@pytest.mark.parametrize(
    ("verdicts", "standing"),
    [
        (["pass"], "pass"),
        (["not-applicable"], "not-applicable"),
        (["not-applicable", "pass"], "pass"),
        (["pass", "untestable"], "untestable"),
        (["untestable", "fail"], "fail"),
        (["fail", "hang"], "hang"),
        (["hang", "harness-error"], "harness-error"),
    ],
)
def test_the_worst_case_decides(verdicts, standing):
    outcomes = [outcome(verdict=verdict, case=str(index)) for index, verdict in enumerate(verdicts)]
    assert result_of(*outcomes).standing == standing


@pytest.mark.parametrize(
    ("others", "standing"),
    [
        ([], "engine"),
        (["pass"], "engine"),
        (["not-applicable"], "engine"),
        (["untestable"], "untestable"),
        (["fail"], "fail"),
        (["harness-error"], "harness-error"),
    ],
)
def test_an_engine_failure_hides_nothing_worse(others, standing):
    engine = outcome(verdict="hang", blame="engine", case="engine")
    outcomes = [outcome(verdict=verdict, case=str(index)) for index, verdict in enumerate(others)]
    assert result_of(engine, *outcomes).standing == standing


def test_in_the_engines_column_a_failure_is_a_failure():
    result = result_of(outcome(verdict="fail", blame="engine"), column="engine", known=entries(known()))
    assert (result.standing, result.engine, result.known, len(result.failing)) == ("fail", False, None, 1)


def test_a_known_failure_must_cover_every_failing_case():
    one, other = outcome(verdict="fail", case="one"), outcome(verdict="hang", case="other")
    assert result_of(one, other, known=entries(known(case="one"))).standing == "hang"
    assert result_of(one, other, known=entries(known(case="one"), known(case="other"))).standing == "known"
    assert result_of(one, other, known=entries(known())).standing == "known"


@pytest.mark.parametrize("verdict", ["untestable", "harness-error"])
def test_a_failed_set_up_is_never_the_expected_failure(verdict):
    result = result_of(outcome(verdict=verdict, case="a"), known=entries(known()))
    assert (result.standing, result.known) == (verdict, None)
    broken = outcome(verdict="fail", case="b")
    beside = result_of(outcome(verdict="harness-error", case="a"), broken, known=entries(known()))
    assert beside.known is None


def test_failing_lists_the_cases_behind_the_result():
    own, engine = outcome(verdict="fail", case="own"), outcome(verdict="fail", blame="engine", case="engine")
    assert result_of(own, engine, outcome(case="fine")).failing == (own,)
    assert result_of(engine, outcome(case="fine")).failing == (engine,)


def test_outcomes_survive_json():
    finding = Finding(observed="a", kind="hang", rank=3, evidence={"k": "v"}, reproduce="r")
    whole = outcome(verdict="fail", finding=finding, notes=("n",), used=("write_data",), reason="why")
    for item in (whole, outcome()):
        assert CaseOutcome.from_data(json.loads(json.dumps(item.as_data()))) == item
