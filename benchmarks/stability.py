"""Do many runs of one level reach the same verdicts? Nothing is measured: a program for what one run cannot show.

    python -m benchmarks.stability --runs 50                       one after another
    python -m benchmarks.stability --runs 1 --busy 2               beside two processes that never sleep
    python -m benchmarks.stability --runs 2 -- --fresh-ranks       what follows `--` goes to every run but the first

Prints one line for each run. Exit code 1 if a verdict of any case differs from the first run's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_BUSY = "while True: pass"


def main(words: list[str]) -> int:
    """Run as the command line says, and compare every run with the first."""
    place = words.index("--") if "--" in words else len(words)
    words, more = words[:place], words[place + 1 :]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stability")
    parser.add_argument("backend", nargs="?", default="reference_impl")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--level", default="core")
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="keep N cores busy meanwhile")
    parser.add_argument("--workers", default="2")
    given = parser.parse_args(words)
    busy = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(given.busy)]
    try:
        return _compare(given, more)
    finally:
        for process in busy:
            process.kill()
            process.wait()


def _compare(given: argparse.Namespace, more: list[str]) -> int:
    first: dict[str, str] = {}
    differing = 0
    for number in range(1, given.runs + 1):
        began = time.monotonic()
        code, verdicts = _run(given, more if number > 1 or given.runs == 1 else [])
        first = first or verdicts
        changed = {case for case in first.keys() | verdicts.keys() if first.get(case) != verdicts.get(case)}
        differing += bool(changed)
        print(f"run {number}: exit code {code}, {len(verdicts)} verdicts, {time.monotonic() - began:.1f} s", flush=True)
        for case in sorted(changed):
            print(f"  {case}: {first.get(case)} at first, {verdicts.get(case)} now", flush=True)
    print(f"{given.runs} runs of {given.level} on {given.backend}: {differing} differ from the first")
    return int(bool(differing))


def _run(given: argparse.Namespace, more: list[str]) -> tuple[int, dict[str, str]]:
    """The exit code of a run, and the verdict of each of its cases for each clause."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "dcp_conformance", given.backend, "-q", "-n", given.workers]
        command += ["--level", given.level, "--report-dir", folder, *more]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        place = Path(folder, "certificate.json")
        if not place.exists():
            raise SystemExit(f"a run ended without a certificate (exit code {done.returncode}):\n{done.stdout[-4000:]}")
        certificate = json.loads(place.read_text())
    columns = (*certificate["clauses"], *certificate["engine_column"])
    verdicts = {f"{clause['id']} {case['case']}": case["verdict"] for clause in columns for case in clause["cases"]}
    return done.returncode, verdicts


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
