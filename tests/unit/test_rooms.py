"""The rooms of the house and the arrows between them: who may import whom, as data, read statically."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from dcp_conformance.harness.contract import LEVELS

ROOT = Path(__file__).resolve().parents[2]
OURS = "dcp_conformance."

# Each room may import those that are named, and the ground that everybody stands on. What is not named is forbidden.
GROUND = {"harness", "harness.errors", "harness.scratch", "harness.contract"}
HARNESS: Mapping[str, set[str]] = {
    "devices": set(),
    "cluster": {"devices"},
    "recording": {"cluster"},
    "replay": {"recording", "cluster"},
    "laws": {"cluster"},
    "backend": {"laws", "cluster", "devices"},
    "states": {"laws", "cluster"},
    "control": set(),
    "faults": {"states", "backend", "laws", "cluster"},
    "subject": {"faults", "states", "backend", "laws", "cluster", "recording", "replay"},
    "crashes": {"subject", "faults", "states", "backend", "laws", "cluster", "recording", "replay"},
    "verdicts": {"subject", "backend", "laws", "cluster"},
    "certificate": {"verdicts", "backend", "laws"},
    "commands": {"certificate", "verdicts"},
    "run": {"devices", "commands", "certificate", "verdicts", "subject", "states", "backend", "laws", "cluster"},
}
REFERENCE: Mapping[str, set[str]] = {
    "values": set(),
    "ranks": set(),
    "planners": {"values", "ranks"},
    "files": {"values", "ranks"},
    "storage": {"planners", "files", "values", "ranks"},
    "engine": {"storage", "planners", "files", "values", "ranks"},
}


@dataclass(frozen=True, kw_only=True)
class Arrow:
    """One import: where it stands, in which room, and the room that it leads to."""

    place: str
    start: str
    end: str


def arrows(package: str) -> Iterator[Arrow]:
    """The imports of a package's modules that lead to modules of ours."""
    for path in sorted((ROOT / package).rglob("*.py")):
        inside = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for target in _targets(node):
                if target.startswith(OURS):
                    yield Arrow(
                        place=f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}",
                        start=inside,
                        end=target.removeprefix(OURS),
                    )


def _targets(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module is not None:
        # `from package import module` leads to the module, where there is one of that name.
        names = [f"{node.module}.{alias.name}" for alias in node.names]
        return [name if _is_module(name) else node.module for name in names]
    return []


def _is_module(dotted: str) -> bool:
    path = ROOT / dotted.removeprefix(OURS).replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def room(module: str, package: str) -> str:
    """The room of a module; a module at the root of its package is a room of its own name's package."""
    words = module.split(".")
    inside = len(words) > 2 or (len(words) == 2 and (ROOT / package / words[1]).is_dir())
    return words[1] if inside else package


@pytest.mark.parametrize(("package", "table"), [("harness", HARNESS), ("reference_impl", REFERENCE)])
def test_rooms_import_only_what_lies_below_them(package: str, table: Mapping[str, set[str]]) -> None:
    forbidden = [
        f"{arrow.place}: {start} may not import {end}"
        for arrow in arrows(package)
        if arrow.end.startswith(f"{package}.")
        for start, end in [(room(arrow.start, package), room(arrow.end, package))]
        if start in table and end not in {start, package, *table[start]}
    ]
    assert not forbidden, "\n" + "\n".join(forbidden)


@pytest.mark.parametrize("package", ["harness", "reference_impl"])
def test_every_room_has_its_arrows(package: str) -> None:
    table = {"harness": HARNESS, "reference_impl": REFERENCE}[package]
    rooms = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
    assert rooms == set(table)


def test_the_arrows_make_no_circle() -> None:
    for table in (HARNESS, REFERENCE):
        built: set[str] = set()
        while set(table) - built:
            next_floor = {name for name, below in table.items() if below <= built} - built
            assert next_floor, f"a circle among {sorted(set(table) - built)}"
            built |= next_floor


def test_packages_lean_one_way() -> None:
    allowed = {
        "harness": {"harness"},
        "reference_impl": {"reference_impl"},
        "fixtures": {"fixtures", "harness"},  # the loader compares as the suites do
        "backends": {"backends", "harness"},
        "suites": {"suites", "harness", "fixtures"},
    }
    forbidden = [
        f"{arrow.place}: {package} may not import {arrow.end}"
        for package in allowed
        for arrow in arrows(package)
        if arrow.end.split(".")[0] not in allowed[package]
    ]
    assert not forbidden, "\n" + "\n".join(forbidden)


def test_levels_do_not_lean_on_each_other_and_tests_import_no_tests() -> None:
    forbidden = []
    for arrow in arrows("suites"):
        start, end = arrow.start.split("."), arrow.end.split(".")
        if end[0] == "suites" and len(end) > 1 and end[1] in LEVELS and start[1] != end[1]:
            forbidden.append(f"{arrow.place}: the level {start[1]} leans on {arrow.end}")
        if end[-1].startswith("test_"):
            forbidden.append(f"{arrow.place}: imports the test module {arrow.end}")
    assert not forbidden, "\n" + "\n".join(forbidden)
