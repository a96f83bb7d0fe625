from __future__ import annotations

import copy
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcp_conformance.harness.certificate.schema import validate
from dcp_conformance.harness.certificate.verify import verify
from dcp_conformance.harness.verdicts.verdict import Finding
from tests.certificate.samples import (
    Description,
    certificate,
    clause,
    entries,
    eventful,
    known,
    outcome,
    run_events,
)

CLAUSES = [clause("FIN-01"), clause("FIN-02"), clause("API-05", applies="E")]


def level(made, name="core"):
    return next(item for item in made["levels"] if item["level"] == name)


def test_a_green_run_holds_its_level():
    made = certificate(CLAUSES, [outcome("FIN-01"), outcome("FIN-02"), outcome("API-05", "fail", blame="engine")])
    assert (level(made)["state"], level(made)["kept"], level(made)["owned"]) == ("held", 2, 2)
    assert made["run"]["exit_status"] == 0
    assert [entry["id"] for entry in made["engine_column"]] == ["API-05"]


def test_every_clause_of_the_run_stands_in_one_place():
    clauses = [
        *CLAUSES,
        clause("FIN-03", "MAY", excluded="allowed"),
        clause("FIN-04", excluded="no way to see it"),
        clause("EXT-01", capabilities=("extensions",)),
        clause("DUR-01", level="durability"),
    ]
    made = certificate(clauses, [outcome("FIN-01")])
    assert [entry["id"] for entry in made["clauses"]] == ["FIN-01", "FIN-02"]
    assert [entry["id"] for entry in made["excluded"]] == ["FIN-03", "FIN-04"]
    assert [entry["id"] for entry in made["not_applicable"]] == ["EXT-01"]
    assert made["not_exercised"] == ["FIN-02"]
    assert level(made)["reason"] == "no verdict on FIN-02"
    assert level(made)["not_applicable"] == 1


def test_an_eventful_run_verifies_and_survives_json():
    made = eventful()
    assert validate(made) == []
    assert verify(json.loads(json.dumps(made))) == []
    assert made == eventful()


def test_the_order_of_outcomes_does_not_matter():
    outcomes = [outcome("FIN-01", case="a"), outcome("FIN-01", "fail", case="b"), outcome("FIN-02")]
    assert certificate(CLAUSES, outcomes) == certificate(reversed(CLAUSES), reversed(outcomes))


def test_known_failures_are_shown_and_marked_used():
    listed = entries(known("FIN-01"), known("FIN-02"))
    made = certificate(CLAUSES, [outcome("FIN-01", "fail"), outcome("FIN-02", "untestable")], listed=listed)
    assert [(entry["clause"], entry["used"]) for entry in made["known_failures"]] == [
        ("FIN-01", True),
        ("FIN-02", False),
    ]
    assert made["clauses"][0]["known"]["reason"] == "no rename"
    assert (level(made)["state"], made["run"]["exit_status"]) == ("lost", 0)


def test_a_stale_known_failure_fails_the_run():
    made = certificate(CLAUSES, [outcome("FIN-01"), outcome("FIN-02")], listed=entries(known("FIN-01")))
    assert (level(made)["state"], made["run"]["exit_status"]) == ("held", 1)
    assert "passes now" in made["run"]["errors"][0]


def test_a_crashed_worker_makes_the_run_partial():
    events = run_events([outcome("FIN-01"), outcome("FIN-02")], unfinished=("gw1",))
    made = certificate(CLAUSES, (), events=events)
    assert made["run"]["partial"] == ["worker gw1 ended before it had finished"]
    assert level(made)["state"] == "not decided"


def test_collected_cases_that_never_ran_make_the_run_partial():
    events = run_events([outcome("FIN-01"), outcome("FIN-02")])
    events.collected["fin-02 more"] = ("FIN-02",)
    made = certificate(CLAUSES, (), events=events)
    assert made["run"]["partial"] == ["1 collected case never ran"]


@pytest.mark.parametrize(
    ("clauses", "stray", "said"),
    [
        (CLAUSES, outcome("FIN-99"), "FIN-99: no such clause, yet case fin-99 case reports on it"),
        ([clause("FIN-99", excluded="why")], outcome("FIN-99"), "FIN-99: the clause is excluded from the checks"),
        ([clause("FIN-99", applies="U")], outcome("FIN-99"), "FIN-99: the clause does not apply to this backend"),
        (CLAUSES, outcome("API-05", "harness-error", reason="Lost."), "API-05, case api-05 case: Lost."),
        (
            [clause("FIN-99", "MAY", excluded="why")],
            outcome("FIN-99", "harness-error"),
            "FIN-99, case fin-99 case: as the sample says",
        ),
    ],
)
def test_what_fits_nowhere_is_an_error(clauses, stray, said):
    made = certificate([clause("FIN-01"), *clauses[-1:]], [outcome("FIN-01"), stray])
    assert made["run"]["errors"][0].startswith(said)
    assert made["run"]["exit_status"] == 1


def test_a_tolerance_test_of_a_may_clause_is_no_error():
    clauses = [clause("FIN-01"), clause("FIN-02", "MAY", excluded="allowed")]
    made = certificate(clauses, [outcome("FIN-01"), outcome("FIN-02")])
    assert (made["run"]["errors"], made["run"]["exit_status"]) == ([], 0)


def test_an_outcome_outside_the_levels_of_the_run_is_kept_as_evidence():
    clauses = [clause("FIN-01"), clause("DUR-01", level="durability"), clause("DUR-02", level="durability")]
    made = certificate(clauses, [outcome("FIN-01"), outcome("DUR-01", "fail")])
    assert [entry["id"] for entry in made["clauses"]] == ["DUR-01", "FIN-01"]
    assert level(made, "durability")["state"] == "not run"
    assert verify(made) == []


def test_the_interrupted_status_of_pytest_is_kept():
    made = certificate(CLAUSES, [outcome("FIN-01")], partial=("Ctrl-C",), pytest_status=2)
    assert made["run"]["exit_status"] == 2


def test_a_bad_caller_is_told():
    with pytest.raises(ValueError, match=r"run\.started: must be in UTC"):
        certificate(CLAUSES, [outcome("FIN-01")], started="2026-11-22T10:00:00")


def test_long_texts_keep_their_two_ends():
    long = outcome("FIN-01", "fail", finding=Finding(observed="a" * 10_000 + "b" * 10_000 + "END"))
    text = certificate(CLAUSES, [long])["clauses"][0]["cases"][0]["finding"]["observed"]
    assert "[... 4003 characters left out ...]" in text
    assert (text[:5], text[-5:]) == ("aaaaa", "bbEND")


def test_undecodable_names_can_be_written():
    made = certificate(CLAUSES, [outcome("FIN-01", "untestable", reason="no \udcff")])
    assert made["clauses"][0]["cases"][0]["reason"] == "no \\udcff"


def entry_of(made, id):
    return next(entry for entry in made["clauses"] if entry["id"] == id)


def tampered(change):
    made = copy.deepcopy(eventful())
    change(made)
    return verify(made)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda made: made["run"].update(exit_status=0), "exit_status: says 0, the levels say 1"),
        (lambda made: made["levels"][0].update(kept=17), "level core: kept 17 (its clauses say 1)"),
        (lambda made: made["levels"].pop(0), "level core: missing"),
        (lambda made: entry_of(made, "DUR-01").update(standing="pass"), "DUR-01: says pass, its cases say untestable"),
        (lambda made: made["clauses"].remove(entry_of(made, "DUR-01")), "level durability: "),
        (lambda made: made["not_exercised"].clear(), "not_exercised: "),
        (lambda made: made["hangs"].clear(), "hangs: "),
        (lambda made: made["known_failures"][0].update(clause="API-10"), "FIN-07: says known, its cases say fail"),
        (lambda made: made["known_failures"][0].update(case="other"), "FIN-07: says known, its cases say fail"),
        (lambda made: made["excluded"][0].update(id="FIN-01"), "FIN-01: listed in more than one place"),
        (lambda made: made["clauses"][0]["cases"][0].update(clause="X"), "API-10: holds a case of another clause"),
        (lambda made: made.update(extra=1), "certificate: the field 'extra' is unknown"),
    ],
)
def test_a_changed_certificate_contradicts_itself(change, said):
    assert any(problem.startswith(said) for problem in tampered(change)), tampered(change)


LEVELS = ("core", "failure", "durability")
VERDICTS = ("pass", "fail", "hang", "untestable", "harness-error", "not-applicable")


@st.composite
def runs(draw):
    clauses = [
        clause(
            f"FIN-{number:02}",
            draw(st.sampled_from(["MUST", "SHOULD"])),
            applies=draw(st.sampled_from(["S", "E", "SE", "U"])),
            level=draw(st.sampled_from(LEVELS)),
        )
        for number in range(draw(st.integers(1, 6)))
    ]
    outcomes = []
    for item in clauses:
        for case in range(draw(st.integers(0, 3))):
            verdict = draw(st.sampled_from(VERDICTS))
            more = {"blame": draw(st.sampled_from(["backend", "engine"]))} if verdict in ("fail", "hang") else {}
            outcomes.append(outcome(item.id, verdict, case=f"{item.id} {case}", **more))
    listed = entries(*(known(item.id) for item in clauses if draw(st.booleans())))
    run = {
        "levels": LEVELS,
        "asked": tuple(name for name in LEVELS if draw(st.booleans())),
        "strict": draw(st.booleans()),
        "partial": draw(st.sampled_from([(), ("-k was given",)])),
        "pytest_status": draw(st.sampled_from([0, 1, 2])),
    }
    return certificate(clauses, outcomes, listed=listed, **run)


@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(runs())
def test_every_certificate_follows_from_its_own_cases(made):
    assert validate(made) == []
    assert verify(json.loads(json.dumps(made))) == []


@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(runs())
def test_a_held_level_has_no_owned_must_without_a_pass(made):
    for item in made["levels"]:
        if item["state"] == "held":
            standings = {
                e["standing"] for e in made["clauses"] if (e["level"], e["strength"]) == (item["level"], "MUST")
            }
            assert standings <= {"pass", "engine", "not-applicable"}
            assert not made["run"]["partial"]
    if made["run"]["exit_status"] == 0:
        assert any(entry["cases"] for column in ("clauses", "engine_column") for entry in made[column])


def test_no_secret_reaches_a_certificate():
    secret = "hunter2's pass\"word"
    texts = f"cannot open https://user:{'p%40ss'}@host/x with password={secret!r}: {secret}"
    finding = Finding(
        observed=texts, kind="x", evidence={"secret_key": secret, "key": "layer.weight", "text": texts}, reproduce=texts
    )
    item = outcome("FIN-01", "fail", finding=finding, reason=texts, notes=(texts,), used=(texts,))
    made = certificate(
        CLAUSES,
        [item],
        description=Description(
            name=texts, reference=texts, version=texts, location=texts, notes=(texts,), unsupported={"layouts": texts}
        ),
        events=run_events([item], leftovers=(texts,), errors=(texts,), notes=(texts,)),
        listed=entries(known("FIN-01", reason=texts, defect=texts, where=texts), known("FIN-99", where=texts)),
        backend_options={"password": secret, "endpoint": texts},
        options={"backend": texts},
        command=texts,
        errors=(texts,),
        partial=(texts,),
    )
    written = json.dumps(made, ensure_ascii=False)
    assert "hunter2" not in written
    assert "p%40ss" not in written
    evidence = made["clauses"][0]["cases"][0]["finding"]["evidence"]
    assert evidence["key"] == "layer.weight"
    assert "@host/x" in evidence["text"]
