from __future__ import annotations

import itertools

import pytest

from dcp_conformance.harness.contract import LEVELS
from dcp_conformance.harness.verdicts.levels import LevelResult, exit_code, level_results, pytest_word, worst_word
from dcp_conformance.harness.verdicts.verdict import clause_result
from tests.certificate.samples import clause, entries, known, outcome


def result(id="FIN-01", verdict=None, *, strength="MUST", level="core", column="backend", listed=None, **more):
    outcomes = [outcome(id, verdict, **more)] if verdict else []
    return clause_result(clause(id, strength, level=level), outcomes, column=column, known=listed)


def core(*results, partial=False) -> LevelResult:
    return level_results(results, selected=("core",), partial=partial)[0]


KEPT = result("API-10", "pass")
KNOWN = entries(known())

# standing of a MUST, or of a SHOULD -> state of a level that also keeps another clause, exit code, with --strict
TABLE = [
    ("MUST", "pass", {}, "held", 0, 0),
    ("MUST", "not-applicable", {}, "held", 0, 0),
    ("MUST", "fail", {}, "lost", 1, 1),
    ("MUST", "hang", {}, "lost", 1, 1),
    ("SHOULD", "fail", {}, "held", 0, 1),
    ("SHOULD", "hang", {}, "lost", 1, 1),
    ("MUST", "fail", {"blame": "engine"}, "held", 0, 0),
    ("SHOULD", "fail", {"blame": "engine"}, "held", 0, 0),
    ("MUST", "untestable", {}, "not decided", 0, 0),
    ("MUST", None, {}, "not decided", 0, 0),
    ("SHOULD", "untestable", {}, "held", 0, 0),
    ("SHOULD", None, {}, "held", 0, 0),
    ("MUST", "harness-error", {}, "not decided", 1, 1),
    ("SHOULD", "harness-error", {}, "not decided", 1, 1),
    ("MUST", "fail", {"listed": KNOWN}, "lost", 0, 0),
    ("MUST", "hang", {"listed": KNOWN}, "lost", 0, 0),
    ("SHOULD", "fail", {"listed": KNOWN}, "held", 0, 0),
    ("SHOULD", "hang", {"listed": KNOWN}, "lost", 0, 0),
]


@pytest.mark.parametrize(("strength", "verdict", "more", "state", "code", "strict_code"), TABLE)
def test_the_outcome_table(strength, verdict, more, state, code, strict_code):
    level = core(KEPT, result(verdict=verdict, strength=strength, **more))
    assert level.state == state
    assert exit_code([level]) == code
    assert exit_code([level], strict=True) == strict_code


@pytest.mark.parametrize(("strength", "verdict", "more", "state", "code", "strict_code"), TABLE)
def test_a_narrowed_run_holds_nothing_and_loses_what_it_lost(strength, verdict, more, state, code, strict_code):
    level = core(KEPT, result(verdict=verdict, strength=strength, **more), partial=True)
    assert level.state == ("lost" if state == "lost" else "not decided")
    assert exit_code([level], partial=True, asked=("core",)) == code


@pytest.mark.parametrize(("strength", "verdict", "more", "state", "code", "strict_code"), TABLE)
def test_a_level_asked_for_by_name_must_be_decided(strength, verdict, more, state, code, strict_code):
    level = core(KEPT, result(verdict=verdict, strength=strength, **more))
    assert exit_code([level], asked=("core",)) == (1 if state == "not decided" else code)


def test_every_owned_clause_is_counted_once():
    results = [
        result(f"X-{number:02}", verdict, strength=strength, **more)
        for number, (strength, verdict, more, *_) in enumerate(TABLE)
        if verdict != "not-applicable"
    ]
    level = core(*results, result("NA-01", "not-applicable"))
    groups = (level.broken, level.known, level.advice, level.known_advice, level.engine)
    groups += (level.untestable, level.not_exercised, level.harness_errors)
    listed = [clause for group in groups for clause in group]
    assert len(listed) == len(set(listed))
    assert level.owned == level.kept + len(listed) == len(results)
    assert level.not_applicable == 1


def test_the_engines_column_and_may_clauses_count_nowhere():
    beside = [
        result("API-05", "hang", column="engine"),
        result("API-06", "fail", column="engine"),
        result("API-11", "fail", strength="MAY"),
    ]
    level = core(KEPT, *beside)
    assert (level.state, level.kept, level.owned, level.broken) == ("held", 1, 1, ())


def test_counts_read_as_kept_of_owned():
    level = core(KEPT, result("A-01", "fail"), result("A-02", "fail", strength="SHOULD"))
    assert (level.kept, level.owned, level.broken, level.should_broken) == (1, 3, ("A-01",), 1)


def test_a_level_lost_through_known_failures_says_so():
    assert core(KEPT, result(verdict="fail", listed=KNOWN)).label == "lost (known)"
    assert core(result("A-01", "fail"), result(verdict="fail", listed=KNOWN)).label == "lost"


def test_a_level_that_binds_nothing_is_not_held():
    level = core(result(verdict="not-applicable"))
    assert (level.state, level.reason) == ("not run", "no clause of it binds this backend here")


def test_a_level_where_nothing_was_seen_kept_is_not_held():
    assert core(result(verdict="fail", blame="engine")).state == "not decided"


def test_levels_outside_the_run_are_not_run():
    levels = level_results([KEPT, result("DUR-01", "fail", level="durability")], selected=("core",))
    assert [level.level for level in levels] == list(LEVELS)
    assert {level.state for level in levels[1:]} == {"not run"}


def test_nothing_executed_is_never_green():
    assert exit_code([core(result())]) == 1
    assert exit_code([core(result(verdict="not-applicable"))]) == 1
    assert exit_code([], partial=True) == 1


def test_an_asked_level_that_did_not_run_fails_the_run():
    levels = level_results([KEPT], selected=("core",))
    assert exit_code(levels, asked=("core",)) == 0
    assert exit_code(levels, asked=("core", "scale")) == 1


def test_errors_of_the_run_fail_it():
    assert exit_code([core(KEPT)], errors=["a stale entry"]) == 1


@pytest.mark.parametrize(("status", "code"), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 0)])
def test_the_code_is_never_greener_than_pytest(status, code):
    assert exit_code([core(KEPT)], pytest_status=status) == code


def test_reasons_name_a_few_clauses_and_count_the_rest():
    level = core(KEPT, *(result(f"A-{number:02}") for number in range(6)))
    assert level.reason == "no verdict on A-00, A-01, A-02, A-03 and 2 more"


@pytest.mark.parametrize(
    ("verdict", "arguments", "word"),
    [
        ("pass", {}, "passed"),
        ("not-applicable", {}, "skipped"),
        ("untestable", {}, "skipped"),
        ("harness-error", {}, "error"),
        ("harness-error", {"known": True}, "error"),
        ("fail", {}, "failed"),
        ("hang", {}, "failed"),
        ("fail", {"strength": "SHOULD"}, "xfailed"),
        ("fail", {"strength": "SHOULD", "strict": True}, "failed"),
        ("fail", {"strength": "SHOULD", "strict": True, "known": True}, "xfailed"),
        ("hang", {"strength": "SHOULD"}, "failed"),
        ("fail", {"strength": "MAY"}, "xfailed"),
        ("fail", {"known": True}, "xfailed"),
        ("hang", {"column": "engine"}, "xfailed"),
    ],
)
def test_the_words_of_pytest(verdict, arguments, word):
    assert pytest_word(outcome(verdict=verdict), **{"strength": "MUST", **arguments}) == word


def test_a_failure_of_the_engine_is_xfailed():
    assert pytest_word(outcome(verdict="hang", blame="engine"), strength="MUST", strict=True) == "xfailed"


def test_a_test_of_several_clauses_takes_the_worst_word():
    words = ("passed", "skipped", "xfailed", "failed", "error")
    for one, other in itertools.combinations(words, 2):
        assert worst_word([other, one]) == other
    assert worst_word([]) == "passed"


def test_levels_survive_data():
    level = core(KEPT, result(verdict="fail"))
    assert LevelResult.from_data(level.as_data()) == level
