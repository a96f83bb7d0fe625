"""Running cases of a certificate again, against the backend that is installed now."""

from __future__ import annotations

import random
import shlex
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dcp_conformance.harness.certificate import files
from dcp_conformance.harness.errors import UsageError
from dcp_conformance.harness.verdicts.verdict import Verdict

Run = Callable[[Sequence[str]], str]


def sample(certificate: Mapping[str, Any], number: int, seed: int) -> list[tuple[str, str]]:
    """Clauses and cases that were judged, `number` of them, chosen by `seed`."""
    judged = [
        (case["clause"], case["case"])
        for entry in certificate["clauses"]
        for case in entry["cases"]
        if Verdict.of(case["verdict"]) in (Verdict.PASS, Verdict.FAIL, Verdict.HANG)
    ]
    return random.Random(seed).sample(judged, min(number, len(judged)))


def disagreements(certificate: Mapping[str, Any], cases: Sequence[tuple[str, str]], run: Run) -> list[str]:
    """Return a sentence for each case that ends otherwise now."""
    found = []
    for clause, case in cases:
        before, now = (
            verdict_of(certificate, clause, case),
            verdict_of(ran_again(certificate, clause, case, run), clause, case),
        )
        if before != now:
            found.append(f"{clause}, case {case}: {before} on the certificate, {now} now")
    return found


def ran_again(certificate: Mapping[str, Any], clause: str, case: str, run: Run) -> dict[str, Any]:
    """Return the certificate of a new run of one case.

    Raises UsageError with what the run printed where it made none.
    """
    with tempfile.TemporaryDirectory(prefix="dcp-rerun-") as folder:
        words = [*command_of(certificate), "--clause", clause, "--case", case, "--report-dir", folder]
        printed = run(words)
        place = Path(folder) / "certificate.json"
        if not place.exists():
            raise UsageError(f"The case could not be run again: {shlex.join(words)}\n{printed}")
        return files.read(place)


def command_of(certificate: Mapping[str, Any]) -> list[str]:
    """Return the words after `dcp-conformance` that certify the same backend in the same way."""
    return shlex.split(certificate["run"]["command"])[1:]


def verdict_of(certificate: Mapping[str, Any], clause: str, case: str) -> str:
    """Return the word for one case of one clause; `not run` where the certificate has none."""
    for entry in (*certificate["clauses"], *certificate["engine_column"]):
        if entry["id"] == clause:
            words = [item["verdict"] for item in entry["cases"] if item["case"] == case]
            return str(words[0]) if words else "not run"
    return "not run"
