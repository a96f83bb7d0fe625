"""The script of a bundle: it shows its finding where torch and the backend are, and nothing of this suite is."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest

from dcp_conformance.harness.commands import main
from dcp_conformance.harness.subject.standalone import Marks, arguments

ROOT = Path(__file__).resolve().parents[2]
# torch, what its wheel needs, and numpy, without which its collectives of objects fail.
TORCHS = (
    "torch", "torchgen", "functorch", "numpy", "numpy.libs", "sympy", "mpmath", "networkx", "jinja2", "markupsafe",
    "filelock", "fsspec", "typing_extensions.py", "setuptools",
)  # fmt: skip


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A Python that finds torch and what it needs, and neither this suite nor pytest."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    [packages] = folder.glob("lib/python3*/site-packages")
    for name in TORCHS:
        for place in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
            if (found := Path(place) / name).exists():
                (packages / name).symlink_to(found)
    python = folder / "bin" / "python"
    for name in ("dcp_conformance", "pytest", "msgpack"):
        assert subprocess.run([python, "-c", f"import {name}"], capture_output=True, check=False).returncode
    return python


@pytest.mark.parametrize(
    ("mutant", "clause", "case"),
    [
        ("values:loses_half_precision", "TYPE-02", "ordinary_dtype_comes_back_bit_for_bit[bfloat16-constructor]"),
        ("values:writes_nothing_for_an_empty_state", "FIN-12", "empty_state_saves_and_loads"),
        ("sharding:leaves_sharded_tensors_alone", "SHARD-01",
         "fsdp1_model_loads_into_another[2ranks-LOCAL_STATE_DICT]"),
        ("values:uses_keys_as_file_names", "SEC-05", None),
    ],
)  # fmt: skip
def test_a_bundle_shows_its_finding_without_the_suite(mutant, clause, case, bare, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    words = [sys.executable, "-m", "dcp_conformance", f"tests.mutants.{mutant}", "--clause", clause]
    words += ["--case", case] if case else []
    subprocess.run([*words, "--report-dir", str(tmp_path)], capture_output=True, check=False)
    assert main("bundle", [clause, str(tmp_path), "--to", str(tmp_path / "b.tar.gz")]) == 0
    assert "it showed the finding" in capsys.readouterr().out
    with tarfile.open(tmp_path / "b.tar.gz") as packed:
        packed.extractall(tmp_path, filter="data")
    again = subprocess.run([bare, tmp_path / clause / "standalone.py"], capture_output=True, text=True, check=False)
    assert again.returncode == 1, again.stdout + again.stderr
    assert f"{clause}: " in again.stdout
    assert "\nbroken" in again.stdout


def test_arguments_are_found_by_their_indices():
    marks = Marks("pytest")

    @marks.mark.below_storage
    @marks.mark.worlds(2, 4)
    @marks.mark.parametrize("a, b", [(1, 2), marks.param(3, 4, id="x")])
    @marks.mark.parametrize("c", ["p", ("q", "r"), marks.param("s")])
    def test(): ...

    given = arguments(test.marked, {"world": 1, "a": 1, "b": 1, "c": 1})
    assert given == {"world": 4, "a": 3, "b": 4, "c": ("q", "r")}
    assert arguments(test.marked, {"world": 0, "a": 0, "b": 0, "c": 2})["c"] == "s"
