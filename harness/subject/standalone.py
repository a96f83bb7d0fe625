"""One finding shown again out of a bundle: the body of its case, once, with torch and the backend and nothing else.

`dcp-conformance bundle` packs this module with those that the case needs; it runs where neither the suite nor pytest
is installed. Nobody is blamed here: what is seen is seen of the backend under the engine of the certificate.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from dcp_conformance.harness.cluster import Cluster, ClusterConfig
from dcp_conformance.harness.laws.verbs import Broken
from dcp_conformance.harness.subject.spec import TORCH_ENGINE, Part, SubjectSpec
from dcp_conformance.harness.subject.subject import Subject

KEPT, SHOWN, UNDECIDED = 0, 1, 2


def main(place: Path) -> int:
    """Run the case that `place` describes. Exit code 1: the promise was seen broken; 0: it was kept; 2: neither."""
    scenario = json.loads(place.read_text(encoding="utf-8"))
    clause = scenario["clause"]
    print(f"{clause}: {scenario['promise']}")
    try:
        found = _finding(scenario)
    except Exception as error:  # whatever goes wrong here is said, and is no finding
        print(f"undecided: {type(error).__name__}: {error}")
        return UNDECIDED
    if isinstance(found, Broken):
        print(f"broken: {found.observed}" if found.rank is None else f"broken, rank {found.rank}: {found.observed}")
        return SHOWN
    print("kept" if found is None else f"undecided: {found}")
    return KEPT if found is None else UNDECIDED


def _finding(scenario: Mapping[str, Any]) -> Exception | None:
    body = _body(scenario)
    own = Part(reference=scenario["backend"], options=tuple(map(tuple, scenario["options"])))
    with tempfile.TemporaryDirectory(prefix="dcp-finding-") as folder:
        spec = SubjectSpec(
            under_test=own.reference,
            storage=own,
            engine=own if scenario["own_engine"] else Part(reference=TORCH_ENGINE),
            scratch=_made(folder, "data"),
            place="finding",
            folder=os.getcwd(),
        )
        with Cluster(_config(scenario, folder)) as ranks:
            subject = Subject(ranks, spec, tuple(scenario["clauses"]))
            _run(subject, body)
        return subject.findings.get(scenario["clause"])


def _run(subject: Subject, body: Callable[[Subject], None]) -> None:
    try:
        body(subject)
        subject.settle(None)
    except Exception as error:  # a finding, or a reason why there can be none
        subject.settle(error)


def _config(scenario: Mapping[str, Any], folder: str) -> ClusterConfig:
    patience = float(scenario["patience"])
    return ClusterConfig(
        folder=Path(_made(folder, "ranks")),
        search_path=(os.getcwd(),),
        device=scenario["device"],
        quiet_limit=15.0 * patience,
        total_limit=60.0 * patience,
        patience=patience,
    )


def _body(scenario: Mapping[str, Any]) -> Callable[[Subject], None]:
    sys.modules["pytest"] = Marks("pytest")  # all that a module of tests wants of it, when there is no pytest
    function = getattr(importlib.import_module(scenario["module"]), scenario["function"])
    given = arguments(function.marked, scenario["indices"])
    return lambda subject: function(subject=subject, **given)


def arguments(marked: Sequence[tuple[str, tuple[Any, ...]]], indices: Mapping[str, int]) -> dict[str, Any]:
    """Return the arguments of one case: of each parameter, the value at its index among those of its mark."""
    given: dict[str, Any] = {}
    for mark, values in marked:
        if mark == "worlds":
            given["world"] = values[indices["world"]]
        elif mark == "parametrize":
            names, rows = values[:2]
            names = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
            row = list(rows)[indices[names[0]]]
            given.update(zip(names, row if isinstance(row, Row) or len(names) > 1 else (row,), strict=True))
    return given


class Row(tuple[Any, ...]):
    """What `pytest.param` was given."""


class Marks(ModuleType):
    """A module that stands for pytest: `mark` notes each mark on its function, and nothing runs."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.mark = _Mark()

    def param(self, *values: Any, **_: Any) -> Row:
        """Return the values of one row; its name is not needed."""
        return Row(values)


class _Mark:
    def __getattr__(self, name: str) -> Callable[..., Any]:
        def marked(*values: Any, **_: Any) -> Any:
            def note(function: Any) -> Any:
                function.__dict__.setdefault("marked", []).append((name, values))
                return function

            # Bare, without arguments, a mark is called with the function itself.
            bare = len(values) == 1 and type(values[0]) is type(note)
            return values[0] if bare else note

        return marked


def _made(folder: str, name: str) -> str:
    place = Path(folder) / name
    place.mkdir()
    return str(place)
