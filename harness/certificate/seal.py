"""Digests that tie a certificate together: its cases, their evidence, the levels, the event files they came from.

They show that a certificate is whole and agrees with itself. They are no signature: who makes a certificate up from
nothing can seal it too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcp_conformance.harness.contract import LETTERS

if TYPE_CHECKING:
    from dcp_conformance.harness.contract import Catalogue, Clause

_BROKEN_SEALS = {
    "cases": "the list of cases is not the one that was sealed: a case was deleted, added or renamed",
    "evidence": "a verdict or its evidence is not the one that was sealed: a case was changed",
    "levels": "the levels are not those that were sealed: a level or the exit status was changed",
    "whole": "a field is not what was sealed, or a digest was changed",
}


def sealed(certificate: Mapping[str, Any], *, events: str) -> dict[str, Any]:
    """Return the certificate with its digests. `events`: the digest of the event files, see `events_digest`."""
    draft = {**certificate, "digests": {"events": events}}
    return {**certificate, "digests": digests(draft)}


def digests(certificate: Mapping[str, Any]) -> dict[str, str]:
    """Return what the digests of a certificate must be.

    That of the events is taken as it stands, for they are not in it.
    """
    entries = [*certificate["clauses"], *certificate["engine_column"]]
    cases = [case for entry in entries for case in entry["cases"]]
    found = {
        "events": str(certificate["digests"]["events"]),
        "cases": digest([[case["clause"], case["case"]] for case in cases]),
        "evidence": digest(cases),
        "levels": digest([certificate["levels"], certificate["run"]["exit_status"]]),
    }
    rest = {name: value for name, value in certificate.items() if name != "digests"}
    return {**found, "whole": digest([rest, found])}


def seal_problems(certificate: Mapping[str, Any]) -> list[str]:
    """Name every seal that is broken, in a sentence."""
    said, right = certificate["digests"], digests(certificate)
    return [f"digests.{name}: {why}" for name, why in _BROKEN_SEALS.items() if said[name] != right[name]]


def catalogue_digest(catalogue: Catalogue) -> str:
    """Return the digest of the whole contract: two suites with the same one ask the same of a backend."""
    return digest([clause_data(clause) for clause in catalogue])


def clause_data(clause: Clause) -> dict[str, Any]:
    """Return what a certificate says about a clause itself, whatever came of it."""
    return {
        "id": clause.id,
        "level": clause.level,
        "strength": clause.strength.name,
        "applies": [letter for letter in LETTERS if letter in clause.applies],
        "about": list(clause.about),
        "basis": clause.basis,
        "experimental": clause.experimental,
        "world": clause.world,
        "promise": clause.promise,
        "source": clause.source,
    }


def events_digest(folder: Path) -> str:
    """Return the digest of the event files of a run, as their workers wrote them."""
    # A backend may have put anything among them, a pipe that nobody writes to for one.
    return files_digest((path for path in sorted(folder.glob("events-*.jsonl")) if _is_plain(path)), folder)


def files_digest(files: Iterable[Path], root: Path) -> str:
    """Return one digest for several files: their names below `root` and their bytes. Empty for no file."""
    whole, empty = hashlib.sha256(), True
    for path in files:
        empty = False
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        whole.update(f"{path.relative_to(root).as_posix()} {content}\n".encode("utf-8", "surrogateescape"))
    return "" if empty else f"sha256:{whole.hexdigest()}"


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def digest(data: Any) -> str:
    """Return the digest of JSON data, however it is laid out."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"sha256:{hashlib.sha256(text.encode('ascii')).hexdigest()}"
