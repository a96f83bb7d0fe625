from __future__ import annotations

from dcp_conformance.harness.certificate.causes import Harm, causes_of
from dcp_conformance.harness.verdicts.verdict import Finding
from tests.certificate.samples import certificate, clause, outcome


def failed(clause_id, observed, case="", kind="values", **more):
    return outcome(clause_id, "fail", case=case, finding=Finding(observed=observed, kind=kind), **more)


def causes(*found):
    ids = dict.fromkeys(item.clause for item in found)
    return causes_of(certificate(map(clause, ids), found))


def test_what_was_told_alike_is_one_cause_whatever_the_numbers_and_names():
    [cause] = causes(
        failed("FIN-01", "the loaded state differs: 't3'[0] is 7.5 (bytes 0f) (1 of 9 elements differ) instead of 1.0"),
        failed("FIN-02", "the loaded state differs: 'own'[2, 1] is 2.5 (bytes ff) (3 of 4 differ) instead of 8"),
        failed("FIN-02", "the loaded state differs: 'x'[2, 1] is 1e+20 (bytes ff) instead of 8", case="another"),
    )
    assert cause.clauses == ("FIN-01", "FIN-02") and len(cause.cases) == 3


def test_values_that_are_wrong_in_two_ways_are_two_causes():
    assert (
        len(causes(failed("FIN-01", "'t' is 0.0 instead of 1.0"), failed("FIN-02", "'t' is 3.5 instead of 1.0"))) == 2
    )
    assert len(causes(failed("FIN-01", "'t' is None instead of 5"), failed("FIN-02", "'t' is 0.0 instead of 1.0"))) == 2


def test_one_error_is_one_cause_however_it_was_met():
    [cause] = causes(
        failed("FIN-01", "it raised mypkg.Api{0: OSError: [Errno 28] No space left}", kind="raised mypkg.Api"),
        failed("FIN-02", "a load on rank 3: OSError: [Errno 28] No space left", kind="raised OSError"),
    )
    assert cause.clauses == ("FIN-01", "FIN-02") and cause.harm is Harm.ERROR


def test_cases_of_one_test_that_break_one_clause_in_one_way_are_one_cause():
    [cause] = causes(
        failed("FIN-01", "a list was taken", case="kinds[list]", kind="not refused"),
        failed("FIN-01", "some number came", case="kinds[number]", kind="not refused"),
    )
    assert cause.cases == ("kinds[list]", "kinds[number]")


def test_groups_that_a_later_case_joins_become_one():
    [cause] = causes(
        failed("FIN-01", "one thing", case="a[1]", kind="x"),
        failed("FIN-02", "another thing", case="b[1]", kind="x"),
        failed("FIN-01", "another thing", case="a[2]", kind="x"),
    )
    assert cause.clauses == ("FIN-01", "FIN-02")


def test_the_worst_harm_is_first_and_advice_is_last():
    clauses = [clause(f"FIN-0{number}") for number in range(1, 6)] + [clause("FIN-06", "SHOULD")]
    found = [
        failed("FIN-01", "it raised KeyError: 'x'", kind="raised KeyError"),
        failed("FIN-02", "the load returned", kind="not refused"),
        outcome("FIN-03", "hang", finding=Finding(observed="rank 0 gave no answer; last seen in finish()")),
        failed("FIN-04", "the checkpoint is gone", kind="lost"),
        failed("FIN-05", "'t' is 0.0 instead of 1.0"),
        failed("FIN-06", "'u' is 0.0 instead of 1.0", kind="arbitrary"),
    ]
    made = certificate(clauses, found)
    everything = causes_of(made, ("broken", "advice"))
    assert [cause.worst.entry["id"] for cause in everything] == [f"FIN-0{number}" for number in (5, 4, 3, 2, 1, 6)]
    assert [cause.clauses for cause in causes_of(made, ("advice",))] == [("FIN-06",)]


def test_every_failing_case_is_in_exactly_one_cause():
    found = [failed("FIN-01", f"text {'abc'[n % 3]}", case=f"t{n}", kind="k") for n in range(9)]
    assert sorted(case for cause in causes(*found) for case in cause.cases) == sorted(item.case for item in found)
