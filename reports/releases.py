"""reports/releases.md: what torch's own DCP breaks, by release and level, from the list of its known failures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from dcp_conformance import HOME
from dcp_conformance.fixtures.release_list import RELEASES
from dcp_conformance.harness.backend.torch_release import OLDEST
from dcp_conformance.harness.contract import LEVELS, Catalogue, load_catalogue
from dcp_conformance.harness.verdicts.known_failures import load

LIST = HOME / "suites" / "known_failures" / "torch.toml"
_HEAD = """\
# What torch's own DCP breaks, release by release

Made by `python -m reports.publish` from `suites/known_failures/torch.toml`; do not edit. These are no certificates: the
list says which clauses are known to be broken with which releases. It is held against torch itself wherever
`torch.distributed.checkpoint` is certified: an entry that passes there is an error, as is a failure without an entry.
Continuous integration does so with every release of the table. A clause counts where any of its cases is listed.
"""


def releases() -> list[str]:
    """Return the releases that are supported, the oldest first."""
    return [release.torch for release in RELEASES if tuple(map(int, release.torch.split(".")[:2])) >= OLDEST]


def broken(place: Path = LIST) -> dict[str, frozenset[str]]:
    """Return the clauses that each release is known to break."""
    return {name: frozenset(entry.clause for entry in load(place, torch=name).entries) for name in releases()}


def page() -> str:
    """The text of the page."""
    catalogue, known = load_catalogue(HOME / "suites"), broken()
    always = frozenset.intersection(*known.values())
    lines = [
        *_HEAD.splitlines(),
        "",
        "## How many",
        "",
        "MUST + SHOULD that are broken:",
        "",
        *_table(["level", *known], _counts(catalogue, known)),
        "",
        "## What differs",
        "",
        *_table(["clause", "strength", "level", *known, "promise"], _differing(catalogue, known, always)),
        "",
        "## Broken by all of them",
        "",
        *_table(["level", "MUST", "SHOULD"], _always(catalogue, always)),
    ]
    return "\n".join(lines) + "\n"


def _counts(catalogue: Catalogue, known: Mapping[str, frozenset[str]]) -> Iterable[list[str]]:
    for level in LEVELS:
        ids = [_of(catalogue, clauses, level) for clauses in known.values()]
        yield [level, *(f"{len(musts)} + {len(shoulds)}" for musts, shoulds in ids)]


def _differing(
    catalogue: Catalogue, known: Mapping[str, frozenset[str]], always: frozenset[str]
) -> Iterable[list[str]]:
    for clause in catalogue:
        if clause.id in frozenset.union(*known.values()) - always:
            cells = ["broken" if clause.id in clauses else "" for clauses in known.values()]
            yield [clause.id, clause.strength.name, clause.level, *cells, clause.promise]


def _always(catalogue: Catalogue, always: frozenset[str]) -> Iterable[list[str]]:
    for level in LEVELS:
        musts, shoulds = _of(catalogue, always, level)
        yield [level, ", ".join(musts) or "none", ", ".join(shoulds) or "none"]


def _of(catalogue: Catalogue, clauses: frozenset[str], level: str) -> tuple[list[str], list[str]]:
    """Return the MUST and the SHOULD of a level that are among the clauses."""
    inside = [catalogue[name] for name in sorted(clauses) if catalogue[name].level == level]
    musts = [clause.id for clause in inside if clause.strength.name == "MUST"]
    return musts, [clause.id for clause in inside if clause.id not in musts]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
