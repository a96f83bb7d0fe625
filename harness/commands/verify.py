"""`verify FILE`: is a certificate whole, and does each of its words follow from its evidence?"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from dcp_conformance import HOME
from dcp_conformance.harness.certificate import files
from dcp_conformance.harness.certificate.prose import count, plain
from dcp_conformance.harness.certificate.verify import catalogue_problems, same_suite, verify
from dcp_conformance.harness.commands.arguments import add_certificate, parser, place_of
from dcp_conformance.harness.commands.rerun import disagreements, sample
from dcp_conformance.harness.contract import load_catalogue
from dcp_conformance.harness.errors import UsageError

_AUTHORSHIP = (
    "This is consistency, not authorship: it shows that the certificate is whole and agrees with itself, not who made\n"
    "it nor that the run took place. To see for yourself: dcp-conformance verify FILE --rerun 20."
)


def main(arguments: Sequence[str]) -> int:
    """Print what does not fit, a line each, and return 1; or say what was checked, and return 0."""
    options = parser("verify", "Recompute every verdict of a certificate from its evidence.")
    add_certificate(options)
    options.add_argument("--rerun", type=int, default=0, metavar="N", help="run N cases again, chosen at random")
    options.add_argument("--seed", type=int, default=None, metavar="N", help="which cases --rerun chooses")
    given = options.parse_args(arguments)
    if given.rerun < 0:
        raise UsageError("--rerun must be a number of cases from 0 on.")
    place = place_of(given.certificate)
    certificate = files.load(place)
    problems, note = _problems(certificate)
    for problem in problems:
        print(f"refused: {plain(problem)}")
    if problems:
        print(f"{place}: {count(len(problems), 'contradiction')}; this certificate is not to be relied on.")
        return 1
    print(f"{place}: {_checked(certificate)}\n{note}")
    failed = given.rerun and _rerun(certificate, given.rerun, given.seed)
    print(_AUTHORSHIP)
    return int(bool(failed))


def _problems(certificate: Any) -> tuple[list[str], str]:
    """Contradictions, and a sentence about whether it could be held against the contract too."""
    problems = verify(certificate)
    if not isinstance(certificate, Mapping) or any(problem.startswith("certificate:") for problem in problems):
        return problems, ""
    catalogue = load_catalogue((HOME / "suites").resolve())
    if same_suite(certificate, catalogue):
        return [*problems, *catalogue_problems(certificate, catalogue)], "Its clauses are those of the contract here."
    version = certificate["suite"]["version"]
    return problems, f"It was made with another contract than the one here (suite {version}): not compared with it."


def _checked(certificate: Mapping[str, Any]) -> str:
    entries = [*certificate["clauses"], *certificate["engine_column"]]
    cases = sum(len(entry["cases"]) for entry in entries)
    return (
        f"{count(cases, 'verdict')} of cases follow from their evidence, "
        f"those of {count(len(entries), 'clause')} and the levels from the cases."
    )


def _rerun(certificate: Mapping[str, Any], number: int, seed: int | None) -> bool:
    """Run cases again, print where they end otherwise, and return whether one did."""
    chosen = seed if seed is not None else random.SystemRandom().randrange(1 << 32)
    cases = sample(certificate, number, chosen)
    print(f"Running {count(len(cases), 'case')} again (--seed {chosen}) ...", flush=True)
    found = disagreements(certificate, cases, _run)
    for sentence in found:
        print(f"differs: {sentence}")
    print(f"{len(cases) - len(found)} of {count(len(cases), 'case')} ended as the certificate says.")
    return bool(found)


def _run(command: Sequence[str]) -> str:
    """Return what a run prints on stderr and stdout; its exit code says nothing that its certificate does not."""
    program = [sys.executable, "-m", "dcp_conformance", *command]
    return subprocess.run(program, capture_output=True, text=True, check=False).stdout


if __name__ == "__main__":
    from dcp_conformance.harness.commands import main as run

    raise SystemExit(run("verify", sys.argv[1:]))
