"""Which variants there are, in the form that the matrix takes: modules of this folder, and what `without` makes."""

from __future__ import annotations

from pathlib import Path

from dcp_conformance.harness.backend.capabilities import CAPABILITIES
from tests.mutants.registry import Mutant

FOLDER = Path(__file__).resolve().parent


def variants(folder: Path = FOLDER) -> list[Mutant]:
    """All variants of a folder: its modules, but for those that begin with an underscore, and `made_without`."""
    names = [path.stem for path in sorted(folder.glob("*.py")) if path.stem[0] != "_"]
    return [Mutant(name, f"tests.variants.{name}", ()) for name in names if name not in ("registry", "without")]


def made_without() -> list[Mutant]:
    """What lacks a capability each, and the two that lack many."""
    names = [f"without_{word}" for word in (*CAPABILITIES, "any", "values")]
    return [Mutant(name, "tests.variants.without", (), name) for name in names]
