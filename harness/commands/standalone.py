"""The script of a bundle that shows its finding with torch and the backend alone, and whether it did when it was made.

It is the case itself: its body, its scenario and the modules that these need lie beside the script. It is run once, in
a process of its own, from the folder in which the bundle is made, where the backend can be found.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcp_conformance import HOME
from dcp_conformance.harness.certificate.causes import Sighting
from dcp_conformance.harness.commands.carried import carried, named_by
from dcp_conformance.harness.commands.rerun import command_of
from dcp_conformance.harness.verdicts.trials import TORCH

SCRIPT = "standalone.py"
_GROUP = "dcp_conformance.backends"
_LIMIT = 300
_SHOWN = 1
_SUITES = HOME / "suites"
_OPTION = "--backend-option="
_PROGRAM = '''#!/usr/bin/env python3
"""Shows one finding. Needs Linux, torch (with numpy, for several ranks) and the backend; run it where that is found."""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "lib"))

if __name__ == "__main__":
    from dcp_conformance.harness.subject.standalone import main

    raise SystemExit(main(HERE / "scenario.json"))
'''
# pytest alone knows which parameters a case of that name has.
_COLLECT = """
import json, sys
import pytest

def rows_of(item):
    # Which row of each parameter's values a case has; pytest's own numbers are for its order of cases.
    given = item.callspec.params if hasattr(item, "callspec") else {}
    found = {}
    for mark in [*item.iter_markers("parametrize"), *item.iter_markers("worlds")]:
        names, rows = mark.args[:2] if mark.name == "parametrize" else ("world", mark.args)
        names = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
        for place, row in enumerate(rows):
            row = row.values if hasattr(row, "marks") else row if len(names) > 1 else (row,)
            if all(repr(value) == repr(given[name]) for name, value in zip(names, row)):
                found[names[0]] = place
    return found

class Collected:
    # As the plugin of a run does, which a mere collection leaves out.
    def pytest_generate_tests(self, metafunc):
        marker = metafunc.definition.get_closest_marker("worlds")
        if marker is not None:
            metafunc.parametrize("world", marker.args, ids=[f"{size}ranks" for size in marker.args])

    def pytest_collection_finish(self, session):
        for item in session.items:
            if item.name == "test_" + sys.argv[2]:
                names = [name for mark in item.iter_markers("clauses") for name in mark.args]
                found = {"function": item.originalname, "clauses": names, "indices": rows_of(item)}
                print("case: " + json.dumps(found))

words = ["--collect-only", "-qq", "-p", "no:cacheprovider", "-c", sys.argv[3], sys.argv[1]]
raise SystemExit(pytest.main(words, plugins=[Collected()]))
"""


@dataclass(frozen=True, kw_only=True)
class Standalone:
    """The files of a bundle that show its finding, by place, and a sentence about what came of them."""

    files: Mapping[str, str]
    said: str
    showed: bool = False


def standalone(certificate: Mapping[str, Any], sighting: Sighting) -> Standalone:
    """Return the script for one finding, run once; only a sentence where the suite no longer has such a case."""
    case = _case(sighting.outcome.case)
    if case is None:
        return Standalone(files={}, said=f"No {SCRIPT}: this suite has no case of that name.")
    scenario = {**case, **_subject(certificate), "clause": sighting.entry["id"], "promise": sighting.entry["promise"]}
    modules = carried(["dcp_conformance.harness.subject.standalone", case["module"], *_backends(scenario["backend"])])
    modules |= _installed()
    files = {
        SCRIPT: _PROGRAM,
        "scenario.json": json.dumps(scenario, indent=1) + "\n",
        **{f"lib/{place}": text for place, text in modules.items()},
    }
    code, printed = _run(files)
    said = {0: "it did not show the finding", _SHOWN: "it showed the finding"}.get(code, "it could not be decided")
    return Standalone(
        files={**files, "standalone.txt": printed},
        said=f"{SCRIPT} needs torch and the backend only. Run once when this was packed, {said} (standalone.txt).",
        showed=code == _SHOWN,
    )


def _case(name: str) -> dict[str, Any] | None:
    """Return where a case is defined, its clauses and the index of each of its parameters; None if it is gone."""
    defined = re.compile(rf"^def test_{re.escape(name.partition('[')[0])}\(", re.MULTILINE)
    for path in sorted(_SUITES.rglob("test_*.py")):
        if defined.search(path.read_text(encoding="utf-8")):
            words = [sys.executable, "-c", _COLLECT, str(path), name, str(HOME / "harness" / "certify.ini")]
            printed = subprocess.run(words, capture_output=True, text=True, check=False).stdout
            for line in printed.splitlines():
                if line.startswith("case: "):
                    module = ".".join((HOME.name, *path.relative_to(HOME).with_suffix("").parts))
                    return {**json.loads(line.removeprefix("case: ")), "module": module}
    return None


def _subject(certificate: Mapping[str, Any]) -> dict[str, Any]:
    backend = certificate["backend"]
    options = [word.removeprefix(_OPTION) for word in command_of(certificate) if word.startswith(_OPTION)]
    return {
        "backend": backend["reference"],
        "options": [option.partition("=")[::2] for option in options],
        "own_engine": "E" in backend["letters"],
        "device": certificate["environment"]["topology"]["device"],
        "patience": backend["patience"],
    }


def _backends(reference: str) -> list[str]:
    """Return what a backend needs of ours: its adapter and torch's, the record, and what its own text names."""
    modules = [point.value.partition(":")[0] for point in _points() if point.name in (reference, TORCH.reference)]
    module = next(iter(point.value for point in _points() if point.name == reference), reference).partition(":")[0]
    return ["dcp_conformance.harness.backend.record", *modules, *sorted(named_by(module, below=Path.cwd()))]


def _installed() -> dict[str, str]:
    """Return what makes the names of adapters known beside the script, as an installation of the suite would."""
    known = "".join(f"{point.name} = {point.value}\n" for point in _points())
    version = importlib.metadata.version("dcp-conformance")
    folder = f"{HOME.name}-{version}.dist-info"
    return {
        f"{folder}/METADATA": f"Metadata-Version: 2.1\nName: dcp-conformance\nVersion: {version}\n",
        f"{folder}/entry_points.txt": f"[{_GROUP}]\n{known}",
    }


def _points() -> list[importlib.metadata.EntryPoint]:
    found = importlib.metadata.entry_points(group=_GROUP)
    return [point for point in found if point.value.startswith(f"{HOME.name}.")]


def _run(files: Mapping[str, str]) -> tuple[int, str]:
    with tempfile.TemporaryDirectory(prefix="dcp-bundle-") as folder:
        unpack(files, Path(folder))
        words = [sys.executable, "-P" if sys.version_info >= (3, 11) else "-s", str(Path(folder) / SCRIPT)]
        try:
            ended = subprocess.run(
                words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                check=False, timeout=_LIMIT,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return -1, f"It did not end within {_LIMIT} s.\n"
        return ended.returncode, ended.stdout.replace(folder, ".")


def unpack(files: Mapping[str, str], folder: Path) -> None:
    """Write the files below a folder."""
    for place, text in files.items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
