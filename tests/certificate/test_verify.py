"""A certificate is refused where it contradicts itself; each way of changing one by hand has its sentence."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from dcp_conformance.harness.certificate import files, seal
from dcp_conformance.harness.certificate.verify import catalogue_problems, results, same_suite, verify
from dcp_conformance.harness.commands import main
from dcp_conformance.harness.contract import Catalogue
from dcp_conformance.harness.verdicts.known_failures import KnownFailures
from dcp_conformance.harness.verdicts.levels import exit_code, level_results
from dcp_conformance.harness.verdicts.verdict import Finding
from tests.certificate.samples import certificate, clause, eventful, outcome

Change = Callable[[dict[str, Any]], object]
FOUND = Finding(observed="'t' is 0.0 instead of 1.0", kind="values")


def lost() -> dict[str, Any]:
    """A certificate of a lost level: one promise kept, one broken."""
    outcomes = [
        outcome("FIN-01", "fail", finding=FOUND, used=("S",)),
        outcome("FIN-02"),
        outcome("FIN-02", case="another"),
    ]
    return certificate([clause("FIN-01"), clause("FIN-02")], outcomes, pytest_status=1)


def refused(change: Change, made: dict[str, Any] | None = None) -> list[str]:
    changed = copy.deepcopy(made or lost())
    change(changed)
    return verify(changed)


def _verdict(made: dict[str, Any]) -> None:
    made["clauses"][0]["cases"][0]["verdict"] = "pass"


def _level(made: dict[str, Any]) -> None:
    made["levels"][0].update(state="held", broken=[], kept=2)


def _deletion(made: dict[str, Any]) -> None:
    del made["clauses"][1]["cases"][1]


def _digest(made: dict[str, Any]) -> None:
    made["digests"]["events"] = "sha256:0"


def _finding(made: dict[str, Any]) -> None:
    made["clauses"][0]["cases"][0]["finding"]["observed"] = "almost nothing"


def _code(made: dict[str, Any]) -> None:
    made["backend"]["commit"] = "another"


def _exit(made: dict[str, Any]) -> None:
    made["run"]["exit_status"] = 0


@pytest.mark.parametrize(
    ("change", "sentences"),
    [
        (_verdict, ["digests.evidence: a verdict", "FIN-01, case fin-01 case: says pass, and has a finding"]),
        (_level, ["digests.levels: the levels", "level core: state 'held'"]),
        (_deletion, ["digests.cases: the list of cases"]),
        (_digest, ["digests.whole: a field is not what was sealed, or a digest"]),
        (_finding, ["digests.evidence: a verdict or its evidence"]),
        (_code, ["digests.whole: "]),
        (_exit, ["digests.levels: ", "exit_status: says 0, the levels say 1"]),
    ],
)
def test_a_change_by_hand_is_refused_with_its_sentence(change: Change, sentences: list[str]) -> None:
    assert verify(lost()) == []
    problems = refused(change)
    for sentence in sentences:
        assert any(problem.startswith(sentence) for problem in problems), problems


def test_the_forgery_that_recomputes_everything_but_the_digests_is_refused() -> None:
    """Issue 13, A6: failing cases become passes, and clauses, levels and exit code are made to follow."""

    def forge(made: dict[str, Any]) -> None:
        for entry in made["clauses"]:
            for case in entry["cases"]:
                case.update(verdict="pass", blame=None, reason="", finding=None)
            entry.update(standing="pass", verdict="pass", engine=False)
        made["hangs"], made["run"]["pytest_status"] = [], 0
        levels = level_results(results(made, "backend", KnownFailures()), selected=made["run"]["levels"])
        made["levels"] = [level.as_data() for level in levels]
        made["run"]["exit_status"] = exit_code(levels)

    problems = refused(forge)
    assert [problem.partition(":")[0] for problem in problems] == [
        "digests.evidence",
        "digests.levels",
        "digests.whole",
    ]


@pytest.mark.parametrize(
    ("verdict", "fields", "lacks"),
    [
        ("pass", {"used": ()}, "without evidence that the backend's own code was reached"),
        ("pass", {"finding": FOUND}, "and has a finding against it"),
        ("fail", {"finding": None}, "without a finding or without blame"),
        ("fail", {"blame": None}, "without a finding or without blame"),
        ("fail", {"finding": Finding(observed="")}, "and its finding says nothing"),
        ("untestable", {"reason": ""}, "without a reason"),
        ("harness-error", {"reason": ""}, "without a reason"),
    ],
)
def test_a_verdict_without_its_evidence_is_refused(verdict: str, fields: dict[str, Any], lacks: str) -> None:
    made = certificate([clause()], [outcome(verdict=verdict, **fields)])
    assert verify(made) == [f"FIN-01, case fin-01 case: says {verdict}, {lacks}"]


def test_an_eventful_certificate_is_consistent_after_its_way_through_a_file(tmp_path) -> None:
    files.write(eventful(), tmp_path / "certificate.json")
    assert verify(files.read(tmp_path / "certificate.json")) == []


def test_the_clauses_of_the_same_suite_are_those_of_the_contract() -> None:
    contract = Catalogue([clause("FIN-01"), clause("FIN-02")])
    made = lost()
    assert same_suite(made, contract) and catalogue_problems(made, contract) == []
    made["clauses"][0]["strength"] = "SHOULD"
    del made["clauses"][1]
    assert catalogue_problems(made, contract) == [
        "FIN-01: its strength is not that of the contract",
        "FIN-02: belongs to a level of the run and is not on the certificate",
    ]
    assert not same_suite(made, Catalogue([clause("FIN-01")]))


def test_the_command_says_what_it_shows_and_what_not(tmp_path, capsys) -> None:
    files.write(lost(), tmp_path / "certificate.json")
    assert main("verify", [str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "3 verdicts of cases follow from their evidence" in said and "This is consistency, not authorship" in said

    changed = lost()
    _verdict(changed)
    (tmp_path / "certificate.json").write_text(json.dumps(changed))
    assert main("verify", [str(tmp_path / "certificate.json")]) == 1
    assert "refused: digests.evidence" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", "not json", "[" * 100_000, '{"schema": "dcp-conformance/certificate/1"}']
)
def test_what_is_no_certificate_is_refused_by_a_sentence(tmp_path, capsys, content: str) -> None:
    (tmp_path / "certificate.json").write_text(content)
    assert main("verify", [str(tmp_path)]) in (1, 4)
    captured = capsys.readouterr()
    assert "certificate" in captured.out + captured.err


def test_the_seal_does_not_depend_on_the_layout_of_the_file() -> None:
    made = lost()
    assert seal.digests(json.loads(json.dumps(made, indent=7, sort_keys=True))) == made["digests"]
