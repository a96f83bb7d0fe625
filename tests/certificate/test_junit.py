from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st

from dcp_conformance.harness.certificate.junit import junit_xml
from dcp_conformance.harness.verdicts.verdict import Finding
from tests.certificate.samples import certificate, clause, entries, eventful, known, outcome


def parsed(made):
    return ElementTree.fromstring(junit_xml(made))


def case(document, name):
    (found,) = [item for item in document.iter("testcase") if item.get("name") == name]
    return found


def test_every_clause_and_case_is_one_testcase():
    document = parsed(eventful())
    names = [item.get("name") for item in document.iter("testcase") if item.get("classname") == "dcp-conformance.core"]
    assert names == [
        "API-10 [api-10 case]",
        "FIN-01 [fin-01 [fresh]]",
        "FIN-01 [fin-01 [overwrite, 2 ranks, passed style]]",
        "FIN-01 [fin-01 [zz]]",
        "FIN-07 [fin-07 case]",
        "RMD-01 [rmd-01 case]",
        "WRITE-02 [write-02 case]",
        "WRITE-05 [write-05 case]",
        "WRITE-06 [write-06 case]",
    ]


def test_only_what_costs_a_level_is_a_failure():
    document = parsed(eventful())
    failed = [item.get("name") for item in document.iter("testcase") if item.find("failure") is not None]
    assert failed == [
        "FIN-01 [fin-01 [overwrite, 2 ranks, passed style]]",
        "FIN-01 [fin-01 [zz]]",
        "WRITE-05 [write-05 case]",
    ]
    errors = [item.get("name") for item in document.iter("testcase") if item.find("error") is not None]
    assert errors == ["WRITE-06 [write-06 case]", "error 1"]


def test_what_is_excused_is_skipped_with_its_reason():
    document = parsed(eventful())
    messages = {
        "WRITE-02 [write-02 case]": "advice: WRITE-02 was seen broken.",
        "FIN-07 [fin-07 case]": "known failure (no rename): FIN-07 was seen broken.",
        "RMD-01 [rmd-01 case]": "engine: RMD-01 was seen broken.",
        "API-05 [api-05 case]": "engine: API-05 was seen broken.",
        "DUR-01 [dur-01 case]": "untestable: the fault was not reached",
        "ASYNC-01": "not exercised",
    }
    for name, message in messages.items():
        assert case(document, name).find("skipped").get("message") == message
    assert "promised" in case(document, "WRITE-02 [write-02 case]").findtext("system-out")


def test_strict_advice_is_a_failure():
    document = parsed(certificate([clause(strength="SHOULD")], [outcome(verdict="fail")], strict=True))
    assert case(document, "FIN-01 [fin-01 case]").find("failure") is not None


def test_the_totals_are_those_of_the_cases():
    document = parsed(eventful())
    cases = list(document.iter("testcase"))
    assert int(document.get("tests")) == len(cases)
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(document.get(name)) == sum(item.find(tag) is not None for item in cases)


def test_errors_of_the_run_are_there():
    made = certificate([clause()], [outcome()], listed=entries(known()))
    assert "passes now" in case(parsed(made), "error 1").find("error").get("message")


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.text(st.characters(), max_size=60))
def test_any_text_gives_valid_xml(text):
    finding = Finding(observed=text, evidence={"text": text}, reproduce=text)
    made = certificate([clause()], [outcome(verdict="fail", case=f"case {text}", finding=finding, reason=text)])
    assert parsed(made).find(".//failure") is not None
