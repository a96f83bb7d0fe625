"""A published certificate with its findings, as the pages show it."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcp_conformance.harness.certificate import files

# From what costs a user most to what costs least.
HARMS = ("wrong values", "lost checkpoint", "crash", "hang", "refused work", "waste")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A finding file: its title, and the words behind `Clauses:`, `Harm:` and `Status:` (new, or where it is known)."""

    file: Path
    title: str
    clauses: tuple[str, ...]
    harm: str
    status: str


@dataclass(frozen=True, kw_only=True)
class Published:
    """One folder below reports/."""

    folder: Path
    certificate: Mapping[str, Any]
    findings: tuple[Finding, ...]

    @property
    def backend(self) -> str:
        """Name and version of the backend."""
        return f"{self.certificate['backend']['name']} {self.certificate['backend']['version']}"

    @property
    def torch(self) -> str:
        """The release of torch, without its build."""
        return str(self.certificate["environment"]["torch"]).partition("+")[0]

    @property
    def minutes(self) -> float:
        """How long the run took."""
        ended, started = (datetime.datetime.fromisoformat(self.certificate["run"][key]) for key in ("ended", "started"))
        return (ended - started).total_seconds() / 60

    def level(self, name: str) -> Mapping[str, Any]:
        """What the certificate says about a level."""
        return next(level for level in self.certificate["levels"] if level["level"] == name)

    def table(self, title: str) -> Sequence[Sequence[str | int]]:
        """The rows of a table of the certificate; none where it has no such table."""
        return next((table["rows"] for table in self.certificate["tables"] if table["title"] == title), [])


def published(home: Path) -> list[Published]:
    """Everything that is published below `home`, by folder. Raises UsageError for what is no certificate."""
    return [
        Published(
            folder=place.parent,
            certificate=files.read(place),
            findings=tuple(sorted(map(_finding, place.parent.glob("findings/*.md")), key=_by_harm)),
        )
        for place in sorted(home.glob("*/certificate.json"))
    ]


def _finding(file: Path) -> Finding:
    text = file.read_text(encoding="utf-8")
    said = {key: _said(text, key, file) for key in ("Clauses", "Harm", "Status")}
    if said["Harm"] not in HARMS:
        raise ValueError(f"{file}: its harm is {said['Harm']!r}; it has to be one of {', '.join(HARMS)}")
    return Finding(
        file=file,
        title=text.partition("\n")[0].removeprefix("# "),
        clauses=tuple(re.findall(r"[A-Z]+-\d+", said["Clauses"])),
        harm=said["Harm"],
        status=said["Status"],
    )


def _said(text: str, key: str, file: Path) -> str:
    found = re.search(rf"^{key}: (.+)$", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"{file} has no line {key!r}")
    return found[1].strip()


def _by_harm(finding: Finding) -> tuple[int, str]:
    return HARMS.index(finding.harm), finding.file.name
