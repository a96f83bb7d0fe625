"""Which mutants there are and which clauses must catch them, read without importing any."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Mutant:
    """A broken backend by name; breaks: the clauses that must catch it."""

    name: str
    module: str
    breaks: tuple[str, ...]

    @property
    def reference(self) -> str:
        """What `--backend` takes, from the root of the clone."""
        return f"{self.module}:{self.name}"


def mutants(folder: Path = FOLDER) -> list[Mutant]:
    """All mutants of a folder, in the order of modules and of their BREAKS."""
    return [
        Mutant(name, f"tests.mutants.{path.stem}", tuple(clauses))
        for path in sorted(folder.glob("*.py"))
        for name, clauses in breaks(path).items()
    ]


def breaks(path: Path) -> dict[str, tuple[str, ...]]:
    """The module-level dict BREAKS of a file; {} where there is none."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "BREAKS" for t in node.targets):
            return dict(ast.literal_eval(node.value))
    return {}
