"""One clause, as `--explain` prints it: what it promises, whom it binds, who checks it and what the last run said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dcp_conformance.harness.certificate.bases import basis_words, title_of
from dcp_conformance.harness.certificate.prose import broken_lines, count, labelled
from dcp_conformance.harness.verdicts.verdict import CaseOutcome

if TYPE_CHECKING:
    from dcp_conformance.harness.contract import Clause

LETTERS = {
    "S": "who supplies a storage writer and reader",
    "E": "who exports save and load",
    "P": "who supplies the default planners",
    "F": "who writes torch's on-disk format",
    "U": "who exports the utility",
}


def explain_lines(
    clause: Clause,
    tests: Sequence[str],
    mutants: Sequence[str],
    last: Mapping[str, Any] | None,
    width: int = 80,
) -> list[str]:
    """Return one clause for `--explain`: its promise, whom it binds, its tests and mutants, and its standing in `last`.

    `last` is the latest certificate, or None where there is none.
    """
    binds = [f"{letter}: {LETTERS[letter]}" for letter in LETTERS if letter in clause.applies]
    needs = [
        f"a world of {clause.world} or more" if clause.world > 1 else "one rank",
        *(["an accelerator"] if clause.gpu else []),
        *(f"the capability {capability}" for capability in clause.capabilities),
        *(["the offer drop_in"] if clause.drop_in else []),
    ]
    excluded = labelled("unchecked", clause.excluded, width) if clause.excluded else []
    return [
        f"{clause.id} ({clause.strength.name}, {clause.level})",
        *labelled("promise", clause.promise, width),
        *labelled("binds", "; ".join(binds), width),
        *labelled("needs", ", ".join(needs), width),
        *labelled("basis", basis_words(clause.basis, experimental=clause.experimental), width),
        *labelled("source", clause.source, width),
        *excluded,
        *labelled("tests", "; ".join(tests) or "none", width),
        *labelled("mutants", "; ".join(mutants) or "none", width),
        *labelled("last", _last(clause.id, last), width),
        *_findings(clause.id, last, width),
    ]


def _findings(clause: str, certificate: Mapping[str, Any] | None, width: int) -> list[str]:
    """Tell every failing case of the last run in full, advice too: here nothing is cut."""
    lines: list[str] = []
    for entry in [] if certificate is None else [*certificate["clauses"], *certificate["engine_column"]]:
        failing = [case for case in map(CaseOutcome.from_data, entry["cases"]) if case.verdict.failing]
        for case in failing if entry["id"] == clause else []:
            title = title_of(entry)
            lines += ["", *broken_lines(title=title, promise=entry["promise"], outcome=case, width=width)]
    return lines


def _last(clause: str, certificate: Mapping[str, Any] | None) -> str:
    if certificate is None:
        return "no certificate yet"
    when = f"{certificate['backend']['name']}, {certificate['run']['ended']}"
    for name, column in (("clauses", ""), ("engine_column", " (the engine's column)")):
        for entry in certificate[name]:
            if entry["id"] == clause:
                return f"{entry['standing']}{column} in {count(len(entry['cases']), 'case')} ({when})"
    for name, standing in (("not_applicable", "not-applicable"), ("excluded", "excluded")):
        for entry in certificate[name]:
            if entry["id"] == clause:
                return f"{standing}: {entry['reason']} ({when})"
    return f"its level was not run ({when})"
