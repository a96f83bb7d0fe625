"""Which variants there are: every module of this folder, in the form that the matrix takes."""

from __future__ import annotations

from pathlib import Path

from tests.mutants.registry import Mutant

FOLDER = Path(__file__).resolve().parent


def variants(folder: Path = FOLDER) -> list[Mutant]:
    """All variants of a folder: its modules but this one and those that begin with an underscore."""
    names = [path.stem for path in sorted(folder.glob("*.py")) if path.stem != "registry" and path.stem[0] != "_"]
    return [Mutant(name, f"tests.variants.{name}", ()) for name in names]
