"""What a backend said, made fit to be passed on: of bounded length, and encodable wherever it goes."""

from __future__ import annotations

from dataclasses import replace

from dcp_conformance.harness.verdicts.verdict import CaseOutcome, Finding

#: Characters of one text; stacks of 64 ranks are shorter, and a certificate of 900 cases stays readable.
LONGEST = 50_000


def speakable(text: str) -> str:
    """`text` with its middle left out where it is too long, and without lone surrogates.

    An OSError that names a non-UTF-8 file has such surrogates; no UTF-8 stream takes them, pytest-xdist's neither.
    """
    if len(text) > LONGEST:
        # The middle goes: the beginning of a text says what happened, the end of a traceback says why.
        half = LONGEST // 2
        text = f"{text[:half]} [... {len(text) - 2 * half} characters are left out ...] {text[-half:]}"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def speakable_outcome(outcome: CaseOutcome) -> CaseOutcome:
    """Return the outcome with all its texts made speakable."""
    finding = outcome.finding
    return replace(
        outcome,
        reason=speakable(outcome.reason),
        notes=tuple(map(speakable, outcome.notes)),
        finding=None if finding is None else _finding(finding),
    )


def _finding(finding: Finding) -> Finding:
    evidence = {speakable(str(name)): speakable(str(text)) for name, text in finding.evidence.items()}
    return replace(finding, observed=speakable(finding.observed), evidence=evidence)
