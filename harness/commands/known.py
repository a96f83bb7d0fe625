"""`known FILE`: write a known-failures file from a run, an entry for each broken clause, with reasons to fill in."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dcp_conformance.harness.certificate.causes import Cause, causes_of
from dcp_conformance.harness.certificate.prose import count, one_line
from dcp_conformance.harness.commands.arguments import certificate_at, parser
from dcp_conformance.harness.errors import UsageError
from dcp_conformance.harness.verdicts.verdict import CaseOutcome

BLANK = "say why this fails today, and who will mend it when"


def main(arguments: Sequence[str]) -> int:
    """Write the file; never over one that is there, for its reasons would be lost."""
    options = parser("known", "Write a known-failures file from a run, with reasons to fill in.")
    options.add_argument("file", metavar="FILE", help="the file to write")
    options.add_argument("--from", dest="certificate", default="dcp-report", metavar="FILE", help="the certificate")
    given = options.parse_args(arguments)
    certificate = certificate_at(given.certificate)
    text = known_file(certificate)
    try:
        with Path(given.file).open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{given.file} is there already: its reasons would be lost. Name another file.") from None
    except OSError as error:
        raise UsageError(f"Cannot write {given.file}: {error.strerror}.") from error
    print(f"{given.file}: {count(text.count('[[known]]'), 'entry', 'entries')}. Give each its reason.")
    return 0


def known_file(certificate: Mapping[str, Any]) -> str:
    """Return the file as text: one entry for a clause whose cases all failed, else one for each failing case."""
    name = one_line(certificate["backend"]["name"], 60)
    lines = [
        f"# {name} with {certificate['engine']}, {certificate['run']['ended']}.",
        "# Every entry is still run; one that passes, matches nothing or has expired makes the run fail.",
    ]
    for cause in causes_of(certificate, ("broken", "advice")):
        lines += ["", f"# {cause.harm.words}: {one_line(cause.worst.observed, 100)}"]
        lines += _entries(cause, certificate)
    return "\n".join(lines) + "\n"


def _entries(cause: Cause, certificate: Mapping[str, Any]) -> Iterator[str]:
    written = set()
    for sighting in cause.sightings:
        clause = sighting.entry["id"]
        whole = _fails_everywhere(clause, certificate)
        place = clause if whole else f"{clause} {sighting.outcome.case}"
        if place in written:
            continue
        written.add(place)
        yield "[[known]]"
        yield f"clause = {json.dumps(clause)}"
        if not whole:
            yield f"case = {json.dumps(sighting.outcome.case)}"
        yield f"reason = {json.dumps(BLANK)}"
        yield ""


def _fails_everywhere(clause: str, certificate: Mapping[str, Any]) -> bool:
    """Tell whether every case that was judged broke the clause in one cause: then no single case has to be named."""
    [entry] = [entry for entry in certificate["clauses"] if entry["id"] == clause]
    cases = list(map(CaseOutcome.from_data, entry["cases"]))
    groups = [cause for cause in causes_of(certificate, ("broken", "advice")) if clause in cause.clauses]
    return all(case.broken for case in cases) and len(groups) == 1


if __name__ == "__main__":
    from dcp_conformance.harness.commands import main as run

    raise SystemExit(run("known", sys.argv[1:]))
