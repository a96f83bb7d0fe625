"""What the wheel holds and asks for."""

from __future__ import annotations

import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from tests.packaging.environments import ROOT, source_of


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode()).get_all("Requires-Dist", [])


def test_the_wheel_holds_all_that_a_run_needs(names: set[str], wheel: Path) -> None:
    source = source_of(wheel)
    packages = ("harness", "suites", "reference_impl", "fixtures", "backends")
    needed = {
        f"dcp_conformance/{path.relative_to(source).as_posix()}"
        for package in packages
        for path in (source / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert sorted(needed - names) == []


def test_the_wheel_adds_one_importable_name(names: set[str]) -> None:
    others = {name.split("/")[0] for name in names} - {"dcp_conformance"}

    assert [name for name in others if not name.endswith(".dist-info")] == []


def test_installing_never_replaces_a_torch_that_is_new_enough(metadata: list[str]) -> None:
    asked = [line for line in metadata if line.partition(">")[0].strip() == "torch"]

    assert len(asked) == 1
    assert not set("=<!~,") & set(asked[0].replace(">=", "")), f"only a lower bound: {asked[0]}"


def test_every_dependency_has_an_exact_pin(metadata: list[str]) -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    words = {line.partition(";")[0].partition(">")[0].partition("[")[0].strip() for line in metadata}
    asked = {word.lower().replace("_", "-") for word in words}

    assert asked - pinned == set()
