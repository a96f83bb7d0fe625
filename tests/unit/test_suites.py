"""The suites keep their own rules: read statically, so that a broken reference is found before any rank runs."""

from __future__ import annotations

import ast
import importlib
from collections import Counter
from pathlib import Path

import pytest

from dcp_conformance.harness.contract import Strength, load_catalogue
from tests.mutants.registry import mutants

SUITES = Path(__file__).resolve().parent.parent.parent / "suites"
MODULES = sorted(SUITES.rglob("test_*.py"))
CATALOGUE = load_catalogue(SUITES)
# Clauses that are checked, and for which no mutant is kept; each with the reason.
UNPROVEN: dict[str, str] = {
    "DEV-07": "a sharded model needs collectives on device tensors, which simulated devices do not carry",
}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def checks(path: Path) -> dict[str, tuple[str, ...]]:
    """The tests of a module and the clauses that each names; importing it is cheap, as it imports no torch."""
    dotted = ".".join(path.relative_to(SUITES).with_suffix("").parts)
    module = importlib.import_module(f"dcp_conformance.suites.{dotted}")
    functions = [item for item in vars(module).values() if getattr(item, "__module__", "") == module.__name__]
    tests = [item for item in functions if callable(item) and item.__name__.startswith("test_")]
    return {test.__name__: tuple(clause for mark in marks_of(test) for clause in mark.args) for test in tests}


def marks_of(test: object) -> list[pytest.Mark]:
    """The `clauses` marks of a test, those of single parameters included."""
    marks = list(getattr(test, "pytestmark", ()))
    values = [value for mark in marks if mark.name == "parametrize" for value in mark.args[1]]
    marks += [mark for value in values for mark in getattr(value, "marks", ())]
    return [getattr(mark, "mark", mark) for mark in marks if mark.name == "clauses"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_module_imports_no_torch(path: Path) -> None:
    plain = [alias.name for node in ast.walk(tree(path)) if isinstance(node, ast.Import) for alias in node.names]
    named = [node.module or "" for node in ast.walk(tree(path)) if isinstance(node, ast.ImportFrom)]
    imported = {name.partition(".")[0] for name in (*plain, *named)}
    assert "torch" not in imported, "the pytest process stays light: what needs torch belongs into scenarios/"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_every_scenario_that_is_named_exists(path: Path) -> None:
    named: dict[str, str] = {}
    for node in tree(path).body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Call)
            and ast.unparse(node.value.func) == "scenarios"
        ):
            named[ast.unparse(node.targets[0])] = ast.literal_eval(node.value.args[0])
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in named:
            module = SUITES.parents[0] / (
                named[node.value.id].removeprefix("dcp_conformance.").replace(".", "/") + ".py"
            )
            defined = {item.name for item in tree(module).body if isinstance(item, ast.FunctionDef)}
            assert node.attr in defined, f"{module} has no function {node.attr}"


def test_every_test_names_clauses_that_exist_and_are_not_excluded() -> None:
    for path in MODULES:
        for test, clauses in checks(path).items():
            assert clauses, f"{path.name}: {test} names no clause"
            for clause in clauses:
                assert clause in CATALOGUE, f"{path.name}: {test} names {clause}, which does not exist"
                assert CATALOGUE[clause].excluded is None, f"{path.name}: {test} checks {clause}, which is excluded"


def test_names_of_tests_are_unique_because_cases_go_by_them() -> None:
    names = Counter(test for path in MODULES for test in checks(path))
    assert [name for name, times in names.items() if times > 1] == []


def test_every_clause_that_is_checked_has_a_mutant() -> None:
    checked = {clause for path in MODULES for clauses in checks(path).values() for clause in clauses}
    proven = {clause for mutant in mutants() for clause in mutant.breaks}
    assert sorted(checked - proven - set(UNPROVEN)) == []
    assert sorted(set(UNPROVEN) & proven) == [], "these have a mutant by now"


def test_mutants_name_clauses_that_exist_and_have_names_of_their_own() -> None:
    everything = mutants()
    assert len({mutant.name for mutant in everything}) == len(everything)
    for mutant in everything:
        for clause in mutant.breaks:
            assert clause in CATALOGUE and CATALOGUE[clause].strength is not Strength.MAY, f"{mutant.name}: {clause}"
