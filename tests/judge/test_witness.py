"""A case of many findings: blame is decided for each by its witness, so that none hides another."""

from __future__ import annotations

from dcp_conformance.harness.laws.verbs import Broken
from dcp_conformance.harness.subject.spec import TORCH_ENGINE, SubjectSpec
from dcp_conformance.harness.subject.subject import Subject
from dcp_conformance.harness.verdicts.verdict import Verdict
from tests.judge.played import PlayedRanks, body, judged, storage_calls


def engines_own(spec: SubjectSpec) -> bool:
    return spec.engine.reference == TORCH_ENGINE


def backends_own(spec: SubjectSpec) -> bool:
    return spec.storage.reference == "mine"


def finding(text: str) -> Broken:
    made = Broken(text, kind="values", rank=0)
    made.witness = body
    return made


def test_finding_of_the_engine_does_not_hide_one_of_the_backend() -> None:
    asked: list[str] = []
    cases = [0]

    def case(subject: Subject) -> None:
        cases[0] += 1
        subject.run(1, "played:scenario")
        engine, backend = finding("the engine's"), finding("the backend's")

        def engine_witness(subject: Subject) -> None:
            asked.append("engine")
            subject.run(1, "played:scenario")
            if engines_own(subject._spec):
                raise Broken("the engine's", kind="values")

        def backend_witness(subject: Subject) -> None:
            asked.append("backend")
            subject.run(1, "played:scenario")
            if backends_own(subject._spec):
                raise Broken("the backend's", kind="values")

        engine.witness, backend.witness, engine.others = engine_witness, backend_witness, (backend,)
        raise engine

    outcome = judged(PlayedRanks(lambda spec: True, storage_calls), played=case)
    assert (outcome.verdict, outcome.blame) == (Verdict.FAIL, "backend")
    assert outcome.finding is not None and outcome.finding.observed == "the backend's"
    assert cases == [1], "each further trial runs a witness, never the case"
    assert set(asked) == {"engine", "backend"}


def test_case_whose_findings_are_all_the_engines_is_the_engines() -> None:
    def case(subject: Subject) -> None:
        subject.run(1, "played:scenario")
        first, second = finding("one"), finding("another")
        first.others = (second,)
        raise first

    outcome = judged(PlayedRanks(engines_own, storage_calls), played=case)
    assert (outcome.verdict, outcome.blame) == (Verdict.FAIL, "engine")
    assert outcome.finding is not None and outcome.finding.observed == "one"
