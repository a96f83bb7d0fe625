"""A name that leads nowhere is refused at once, and without importing anything of anybody's."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from dcp_conformance.harness.backend.locate import locate
from dcp_conformance.harness.errors import UsageError

REFUSE = """
import sys
from dcp_conformance.harness.backend.locate import locate
from dcp_conformance.harness.errors import UsageError
try:
    locate({name!r}, {folder!r})
except UsageError as error:
    print(error)
print("loaded:", sorted(name for name in sys.modules if name.partition(".")[0] in ("torch", "theirs", "pytest")))
"""


def in_a_new_process(name: str, folder: Path) -> tuple[str, float]:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", REFUSE.format(name=name, folder=str(folder))],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    return done.stdout, time.monotonic() - began


@pytest.mark.parametrize(
    "name", ["no_such_backend", "torch.distributed.chekpoint", "theirs.storge", "theirs/storge.py"]
)
def test_an_unknown_name_is_refused_within_two_seconds_without_imports(tmp_path: Path, name: str) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "__init__.py").write_text("raise SystemExit('the package was imported')")

    output, seconds = in_a_new_process(name, tmp_path)

    assert f"--backend={name}: there is no" in output
    assert output.endswith("loaded: []\n")
    assert seconds < 2


def test_nested_folders_without_init_are_walked_without_importing_them(tmp_path: Path) -> None:
    (tmp_path / "theirs_space" / "cloud").mkdir(parents=True)
    (tmp_path / "theirs_space" / "cloud" / "store.py").write_text("")

    located = locate("theirs_space.cloud.store", str(tmp_path))

    assert located.origin == str(tmp_path / "theirs_space" / "cloud" / "store.py")
    with pytest.raises(UsageError, match="theirs_space.cloud is there, but it has no module 'stor'"):
        locate("theirs_space.cloud.stor", str(tmp_path))


def test_a_real_module_wins_over_a_folder_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "first" / "theirs_twice").mkdir(parents=True)
    (tmp_path / "theirs_twice.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path / "first"))

    assert locate("theirs_twice", str(tmp_path)).origin == str(tmp_path / "theirs_twice.py")
