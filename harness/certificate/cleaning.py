"""What every text goes through, once, on its way into a certificate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from dcp_conformance.harness.certificate.redact import redact, redact_mapping
from dcp_conformance.harness.laws.observations import Table
from dcp_conformance.harness.verdicts.known_failures import KnownFailure
from dcp_conformance.harness.verdicts.verdict import CaseOutcome, Finding

# Of a long text the start says what happened, and the end of a traceback or an output says why.
_START, _END = 4_000, 12_000


@dataclass(frozen=True)
class Cleaner:
    """Redacts, makes encodable, and cuts long texts. Ids of clauses and names of cases are identity: left alone."""

    secrets: tuple[str, ...] = ()

    def __call__(self, text: str) -> str:
        """One text. It is redacted before it is cut, so that no cut hides the start of a secret."""
        # A lone surrogate (an undecodable file name) can be shown, but not written to a file.
        redacted = redact(str(text), secrets=self.secrets).encode("utf-8", "backslashreplace").decode("utf-8")
        left_out = len(redacted) - _START - _END
        if left_out <= 0:
            return redacted
        return f"{redacted[:_START]}\n[... {left_out} characters left out ...]\n{redacted[-_END:]}"

    def all(self, texts: Iterable[str]) -> list[str]:
        """Several texts."""
        return [self(text) for text in texts]

    def mapping(self, options: Mapping[str, object]) -> dict[str, str]:
        """Options: the values of names that smell of a secret are gone. In the order of their names."""
        redacted = redact_mapping(options, secrets=self.secrets)
        return {self(name): self(value) for name, value in sorted(redacted.items())}

    def outcome(self, outcome: CaseOutcome) -> CaseOutcome:
        """Clean every free text of an outcome."""
        return replace(
            outcome,
            reason=self(outcome.reason),
            finding=outcome.finding and self.finding(outcome.finding),
            seconds=max(0.0, outcome.seconds),
            notes=tuple(self.all(outcome.notes)),
            used=tuple(self.all(outcome.used)),
        )

    def finding(self, finding: Finding) -> Finding:
        """Clean a finding; each item of evidence is read together with its name, which may be that of a secret."""
        return replace(
            finding,
            observed=self(finding.observed),
            kind=self(finding.kind),
            evidence={self(name): self._named(name, text) for name, text in finding.evidence.items()},
            reproduce=self(finding.reproduce),
        )

    def entry(self, entry: KnownFailure) -> KnownFailure:
        """Clean a known failure."""
        return replace(entry, reason=self(entry.reason), defect=self(entry.defect), where=self(entry.where))

    def table(self, table: Table) -> Table:
        """Clean a table: its cells may hold what a backend said. The title is identity and ours."""
        rows = tuple(tuple(self(cell) if isinstance(cell, str) else cell for cell in row) for row in table.rows)
        return replace(table, rows=rows)

    def _named(self, name: str, text: str) -> str:
        cleaned = self(f"{name}={text}")
        return cleaned.removeprefix(f"{name}=") if cleaned.startswith(f"{name}=") else self(text)
