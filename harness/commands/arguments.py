"""What the parsers of the commands share: bad input is a UsageError, a certificate is a file or its folder."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any, NoReturn

from dcp_conformance.harness.certificate import files
from dcp_conformance.harness.certificate.causes import Sighting
from dcp_conformance.harness.errors import UsageError
from dcp_conformance.harness.verdicts.verdict import CaseOutcome

CERTIFICATE = "certificate.json"
DEFAULT = "dcp-report"


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises where argparse would print and exit with 2."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}\n{self.format_usage().rstrip()}")


def parser(name: str, description: str) -> Parser:
    """Return the parser of the command `name`."""
    return Parser(prog=f"dcp-conformance {name}", description=description)


def add_certificate(to: argparse.ArgumentParser, name: str = "certificate", *, default: str | None = DEFAULT) -> None:
    """Add the argument that names a certificate: its file, or the report folder that holds it."""
    to.add_argument(
        name,
        nargs="?" if default is not None else None,
        default=default,
        metavar="FILE",
        help="a certificate, or the report folder that holds it" + (f" (default: {default})" if default else ""),
    )


def place_of(given: str) -> Path:
    """Return the file that an argument of `add_certificate` means."""
    path = Path(given)
    # os.path: a name that is too long for the system is no folder.
    return path / CERTIFICATE if os.path.isdir(path) else path


def certificate_at(given: str) -> dict[str, Any]:
    """Return the certificate that an argument of `add_certificate` means. Raises UsageError."""
    return files.read(place_of(given))


def findings_of(certificate: dict[str, Any], clause: str, case: str | None = None) -> list[Sighting]:
    """Return the failing cases of a clause, in either column, worst first. Raises UsageError where there are none."""
    found = [
        Sighting(entry=entry, outcome=outcome)
        for entry in (*certificate["clauses"], *certificate["engine_column"])
        if entry["id"] == clause
        for outcome in map(CaseOutcome.from_data, entry["cases"])
        if outcome.verdict.failing and case in (None, outcome.case)
    ]
    if not found:
        what = clause if case is None else f"{clause}, case {case}"
        broken = sorted({e["id"] for e in certificate["clauses"] if any(c["finding"] for c in e["cases"])})
        raise UsageError(f"The certificate holds no finding of {what}. It has some of {', '.join(broken) or 'none'}.")
    return sorted(found, key=lambda sighting: sighting.order)
