"""Which cases a run has, and what each is about: the clauses of its marker, the scenarios that its test names.

A mistake of a contributor in either is found before the first case runs, and is a sentence with the nearest name.
"""

from __future__ import annotations

import difflib
import dis
import functools
import importlib.util
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from dcp_conformance.harness.contract import Catalogue, Clause
from dcp_conformance.harness.errors import UsageError
from dcp_conformance.harness.run.options import Options
from dcp_conformance.harness.subject.subject import NamedModule

_DEFINED = re.compile(r"^(?:def|class) (\w+)|^(\w+)(?::.*)? = ", re.MULTILINE)


class Cases:
    """The cases of a run by name, with their clauses; empty until the items of pytest were sorted."""

    def __init__(self, catalogue: Catalogue, options: Options) -> None:
        self._catalogue, self._options = catalogue, options
        self.clauses: dict[str, tuple[Clause, ...]] = {}

    def sort(self, items: Sequence[pytest.Item], option: Any) -> tuple[list[pytest.Item], list[pytest.Item]]:
        """Return the items of the levels, clauses and case that were asked for, and the others.

        option: those of pytest, by which it has left out others before. Raises UsageError for a test that names no
        clause, an unknown clause or an unknown scenario, for two cases of one name, and where nothing is left.
        """
        # pytest's own end for this is exit code 5, which scripts take for "nothing to do"; zero cases are never green.
        if not items and (option.keyword or option.markexpr or option.deselect):
            raise UsageError("No case is left to run: -k, -m or --deselect left out all of them.")
        kept: list[pytest.Item] = []
        dropped: list[pytest.Item] = []
        found: dict[str, tuple[Clause, ...]] = {}
        for item in items:
            clauses, case = self._marked(item), case_name(item)
            if not self._asked_for(case, clauses):
                dropped.append(item)
                continue
            # Known failures, reproduction lines and certificates name cases, so two of one name could cover for each
            # other.
            if case in found:
                raise UsageError(f"two cases are called {case!r}; a case name is an identity")
            _require_scenarios(item)
            found[case] = clauses
            kept.append(item)
        # What finds nothing has a mistake in it, and must not end as a run without findings.
        if not kept:
            raise UsageError(self._none_left(items, option))
        self.clauses = found
        return kept, dropped

    def _none_left(self, items: Sequence[pytest.Item], option: Any) -> str:
        options = self._options
        if options.case is not None:
            return self._no_such_case(items)
        if option.keyword or option.markexpr or option.deselect:
            return "No case is left to run: -k, -m or --deselect left out all that were asked for."
        elsewhere = [f"{name} belongs to the level {self._catalogue[name].level}" for name in options.clauses]
        return f"No case is left to run: {'; '.join(elsewhere) or 'nothing checks what was asked for'}."

    def _no_such_case(self, items: Sequence[pytest.Item]) -> str:
        wanted, names = str(self._options.case), list(map(case_name, items))
        if wanted in names:
            return f"The case {wanted!r} does not belong to the clauses or levels that were asked for."
        near = difflib.get_close_matches(wanted, names, n=3)
        return f"No case is called {wanted!r}." + (f" Nearest: {', '.join(near)}." if near else "")

    def _marked(self, item: pytest.Item) -> tuple[Clause, ...]:
        marker = item.get_closest_marker("clauses")
        if marker is None or not marker.args:
            raise UsageError(f"{_place(item)}: the test names no clause: mark it with @pytest.mark.clauses(...)")
        try:
            return tuple(self._catalogue[name] for name in marker.args)
        except UsageError as error:
            raise UsageError(f"{_place(item)}: {error}") from None

    def _asked_for(self, case: str, clauses: tuple[Clause, ...]) -> bool:
        options = self._options
        return (
            (not options.levels or any(clause.level in options.levels for clause in clauses))
            and (not options.clauses or any(clause.id in options.clauses for clause in clauses))
            and (options.case is None or case == options.case)
        )


def case_name(item: pytest.Item) -> str:
    """Return the identity of a case: the test's name without `test_`, and its parameters.

    No path, so that files may move.
    """
    return item.name.removeprefix("test_")


def _require_scenarios(item: pytest.Item) -> None:
    function = getattr(item, "function", None)
    if not isinstance(function, FunctionType):
        return
    for module, name in _scenarios(function):
        known = _defined(module)
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"{_place(item)}: {module} has no scenario {name!r}{hint}")


def _scenarios(function: FunctionType) -> Iterator[tuple[str, str]]:
    """Module and name of each scenario that the body of a test names, as `on_ranks.name`."""
    # Read from the bytecode: a name in a comment or a string is none, and nothing needs to be run or imported for it.
    for before, after in pairwise(dis.get_instructions(function)):
        owner = function.__globals__.get(str(before.argval)) if before.opname == "LOAD_GLOBAL" else None
        if isinstance(owner, NamedModule) and after.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            yield owner.__name__, str(after.argval)


@functools.cache
def _defined(module: str) -> frozenset[str]:
    """Return what a module of scenarios defines, read and not imported: it needs torch, and this process has none."""
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None, f"{module} is named by a test and does not exist"
    source = Path(spec.origin).read_text(encoding="utf-8")
    return frozenset(first or second for first, second in _DEFINED.findall(source))


def _place(item: pytest.Item) -> str:
    path, line, _ = item.location
    return f"{path}:{(line or 0) + 1}"
