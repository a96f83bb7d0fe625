"""Which mutants there are and which clauses must catch them, read without importing any."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from dcp_conformance.harness.commands.explain import breaks

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Mutant:
    """A broken backend by name; breaks: the clauses that must catch it (none: a variant).

    attribute: where the module holds it; none: the module is the backend.
    """

    name: str
    module: str
    breaks: tuple[str, ...]
    attribute: str = ""
    device: str = "cpu"
    """The kind of device that its ranks have: DEVICE of its module."""

    @property
    def reference(self) -> str:
        """What `--backend` takes, from the root of the clone."""
        return f"{self.module}:{self.attribute}" if self.attribute else self.module


def mutants(folder: Path = FOLDER) -> list[Mutant]:
    """All mutants of a folder, in the order of modules and of what they hold."""
    return [
        Mutant(name, f"tests.mutants.{path.stem}", tuple(clauses), name, _device(path))
        for path in sorted(folder.glob("*.py"))
        for name, clauses in breaks(path).items()
    ]


def _device(path: Path) -> str:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "DEVICE" for t in node.targets):
            return str(ast.literal_eval(node.value))
    return "cpu"
