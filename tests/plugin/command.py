"""The command, run in a folder of its own, and what it left there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT = 240.0


@dataclass(frozen=True)
class Ended:
    """How a run ended. certificate: the one in the folder, None where there is none."""

    code: int
    text: str
    seconds: float
    certificate: dict[str, Any] | None

    def clause(self, clause_id: str) -> dict[str, Any]:
        assert self.certificate is not None, self.text
        return next(entry for entry in self.certificate["clauses"] if entry["id"] == clause_id)


def certify(folder: Path, *arguments: str, first_on_path: str = "") -> Ended:
    """Run `dcp-conformance` in `folder`, with its scratch and its report below it.

    first_on_path: a folder whose modules hide those of the environment.
    """
    began = time.monotonic()
    process = subprocess.run(
        [sys.executable, "-m", "dcp_conformance", *arguments, f"--scratch={folder / 'scratch'}"],
        cwd=folder,
        env=environment(first_on_path),
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    path = folder / "dcp-report" / "certificate.json"
    certificate = json.loads(path.read_text()) if path.exists() else None
    return Ended(process.returncode, process.stdout + process.stderr, time.monotonic() - began, certificate)


def environment(first_on_path: str = "") -> dict[str, str]:
    """Ours, with the clone importable and no options of the outer pytest run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, (first_on_path, str(ROOT))))}
