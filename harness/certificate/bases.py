"""On whose word a clause stands: shown with each finding, and counted where it is this contract's alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dcp_conformance.harness.contract import LEVELS

_WORDS = {
    "documented": "documented upstream",
    "upstream-tested": "tested upstream",
    "upstream-source": "written in upstream's source",
    "ours": "this contract's own demand",
}


@dataclass(frozen=True, kw_only=True)
class OwnDemands:
    """The owned MUST clauses of a level that nothing upstream stands behind."""

    level: str
    kept: int
    owned: int


def basis_words(basis: str, *, experimental: bool = False) -> str:
    """Return what stands behind a promise upstream, as a reader of findings needs it."""
    return _WORDS[basis] + ("; experimental upstream" if experimental else "")


def title_of(entry: Mapping[str, Any]) -> str:
    """Say how a clause of a certificate is introduced: its id, what it costs, and on whose word it stands."""
    basis = basis_words(entry["basis"], experimental=entry["experimental"])
    return f"{entry['id']} ({entry['strength']}, {entry['level']}, {basis})"


def own_demands(certificate: Mapping[str, Any]) -> dict[str, OwnDemands]:
    """Return how a run stands on the MUSTs that are this contract's own, for each level that has some that bind."""
    ours = [
        entry
        for entry in certificate["clauses"]
        if entry["basis"] == "ours" and entry["strength"] == "MUST" and entry["verdict"] != "not-applicable"
    ]
    counted = {level: [entry for entry in ours if entry["level"] == level] for level in LEVELS}
    return {
        level: OwnDemands(level=level, owned=len(found), kept=sum(entry["standing"] == "pass" for entry in found))
        for level, found in counted.items()
        if found
    }
