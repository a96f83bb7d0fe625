"""The contract as a static site: an index with search, a page for each clause. Pure functions with templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dcp_conformance.harness.certificate.bases import basis_words
from dcp_conformance.harness.certificate.explained import LETTERS
from dcp_conformance.harness.certificate.page import environment, hashed, source_hash
from dcp_conformance.harness.contract import LEVELS, Catalogue, Clause

_COSTS = {
    "MUST": "A backend that breaks it loses the level.",
    "SHOULD": "Advice: a backend that breaks it keeps the level, and its report says so.",
    "MAY": "A freedom: a backend may do so or not, and no check minds.",
}


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Who checks a clause: tests as `path:line name`, and the mutants that prove that they can fail."""

    tests: tuple[str, ...]
    mutants: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How one certified backend stands on a clause."""

    backend: str
    word: str


def contract_pages(
    catalogue: Catalogue, checked: Mapping[str, Checked], certificates: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    """Return the files of the site: `index.html`, and `TYPE-02.html` and so on."""
    style, script = hashed("page.css"), hashed("contract.js")
    shared = {"style": style, "style_hash": source_hash(style), "script": script, "script_hash": source_hash(script)}
    template = environment().get_template("clause.html")
    pages = {
        f"{clause.id}.html": template.render(
            **shared,
            clause=clause,
            binds=[text for letter, text in LETTERS.items() if letter in clause.applies],
            costs=_COSTS[clause.strength.name],
            basis=basis_words(clause.basis, experimental=clause.experimental),
            checked=checked[clause.id],
            standings=standings(clause, certificates),
        )
        for clause in catalogue
    }
    levels = [(level, catalogue.in_level(level)) for level in LEVELS]
    index = environment().get_template("contract.html").render(**shared, levels=levels, count=len(catalogue))
    return {"index.html": index, **pages}


def standings(clause: Clause, certificates: Sequence[Mapping[str, Any]]) -> list[Standing]:
    """Return how each certified backend stands on the clause, where it was judged."""
    return [
        Standing(backend=f"{one['backend']['name']} {one['backend']['version']}", word=entry["standing"])
        for one in certificates
        for entry in one["clauses"]
        if entry["id"] == clause.id
    ]
