"""The catalogue of clauses: what the real one holds, and what the loader refuses."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from dcp_conformance.harness.backend.capabilities import CAPABILITIES, OFFERS
from dcp_conformance.harness.contract import LEVELS, Catalogue, Clause, Strength, load_catalogue
from dcp_conformance.harness.errors import UsageError

SUITES = Path(__file__).parents[2] / "suites"

GOOD = """
[TEST-01]
promise = "Saved values come back."
strength = "MUST"
applies = ["S", "E"]
world = 2
basis = "documented"
source = "storage.py:StorageWriter"
"""


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue(SUITES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an empty file of clauses for every level."""
    for level in LEVELS:
        (tmp_path / level).mkdir()
        (tmp_path / level / "clauses.toml").touch()
    return tmp_path


def put(folder: Path, text: str, *, level: str = "core") -> None:
    (folder / level / "clauses.toml").write_text(text, encoding="utf-8")


def refusal(folder: Path) -> str:
    with pytest.raises(UsageError) as caught:
        load_catalogue(folder)
    return str(caught.value)


def test_ids_have_no_gaps_because_a_clause_keeps_its_id_for_ever(catalogue: Catalogue) -> None:
    counted = Counter(clause.id.split("-")[0] for clause in catalogue)
    expected = [f"{prefix}-{n:02}" for prefix, count in sorted(counted.items()) for n in range(1, count + 1)]
    assert sorted(clause.id for clause in catalogue) == sorted(expected)


def test_capabilities_that_clauses_name_exist(catalogue: Catalogue) -> None:
    named = {name for clause in catalogue for name in clause.capabilities}
    assert named <= set(CAPABILITIES) | set(OFFERS)


def test_every_level_has_clauses(catalogue: Catalogue) -> None:
    assert all(catalogue.in_level(level) for level in LEVELS)


def test_clauses_that_need_a_device_form_a_level(catalogue: Catalogue) -> None:
    assert {clause.id for clause in catalogue if clause.gpu} == {
        clause.id for clause in catalogue.in_level("accelerator")
    }


def test_one_clause_in_full(catalogue: Catalogue) -> None:
    assert catalogue["TYPE-02"] == Clause(
        id="TYPE-02",
        strength=Strength.MUST,
        applies=frozenset({"S", "F"}),
        world=1,
        level="core",
        promise="Tensors of all common boolean, integer and floating-point dtypes come back as they were saved.",
        basis="upstream-tested",
        source="storage.py:StorageWriter.write_data",
    )


def test_promises_are_unique_and_short(catalogue: Catalogue) -> None:
    promises = [clause.promise for clause in catalogue]
    assert len(set(promises)) == len(promises)
    assert max(map(len, promises)) <= 165


def test_only_allowed_freedoms_are_excluded(catalogue: Catalogue) -> None:
    assert {clause.id for clause in catalogue if clause.excluded} == {
        clause.id for clause in catalogue if clause.strength is Strength.MAY
    }


def test_contains(catalogue: Catalogue) -> None:
    assert "API-01" in catalogue
    assert "API-99" not in catalogue
    assert 1 not in catalogue


def test_unknown_id_names_near_ones(catalogue: Catalogue) -> None:
    with pytest.raises(UsageError, match=r"no clause 'write-018' \(nearest: WRITE-18"):
        catalogue["write-018"]


def test_unknown_id_that_resembles_nothing(catalogue: Catalogue) -> None:
    with pytest.raises(UsageError, match=r"no clause '\?'\.$"):
        catalogue["?"]


def test_unknown_level_lists_the_levels(catalogue: Catalogue) -> None:
    with pytest.raises(UsageError, match=r"no level 'cores'.* core, distributed, "):
        catalogue.in_level("cores")


def test_ids_are_ordered_by_number(catalogue: Catalogue) -> None:
    clause = catalogue["API-01"]
    ids = ["B-02", "A-100", "A-99"]
    assert [c.id for c in Catalogue(replace(clause, id=i) for i in ids)] == ["A-99", "A-100", "B-02"]


def test_good_clause_loads(folder: Path) -> None:
    put(folder, GOOD)
    assert [clause.id for clause in load_catalogue(folder)] == ["TEST-01"]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("world =", "worlds =", r"the field 'worlds' is unknown \(nearest: world\)"),
        ("world = 2\n", "", "the field 'world' is missing"),
        ("world = 2", "world = 5", "world is 5, but must be a number of ranks from 1 to 4"),
        ("world = 2", "world = true", "world is True"),
        ('"MUST"', '"must"', "strength is 'must', but must be MUST, SHOULD or MAY"),
        ('"MUST"', '"MAY"', "a MAY clause has no verdict, so it needs the field 'excluded'"),
        ('["S", "E"]', '["X"]', r"applies is \['X'\], but must be a list of letters out of S, E, P, F and U"),
        ('["S", "E"]', '["S", "S"]', r"applies is \['S', 'S'\]"),
        ('["S", "E"]', "[]", r"applies is \[\]"),
        ('["S", "E"]', '"S"', "applies is 'S'"),
        ("come back.", "come back", "promise is .* but must be one sentence on one line"),
        ("come back.", "come. Back.", "promise is .* but must be one sentence on one line"),
        ("come back.", "come\\nback.", "promise is .* but must be one sentence on one line"),
        ('"storage.py:StorageWriter"', '""', "source is '', but must be a text on one line"),
        ("world = 2", 'world = 2\ngpu = "yes"', "gpu is 'yes', but must be true or false"),
        ("world = 2", "world = 2\ndrop_in = 1", "drop_in is 1, but must be true or false"),
        ("world = 2", 'world = 2\ncapabilities = [""]', r"capabilities is \[''\], but must be a list of different"),
        ("world = 2", "world = 2\nexcluded = 3", "excluded is 3, but must be a reason on one line"),
        ("world = 2", "world = 2\ngpu = true", "in the level core, but clauses with gpu = true, and no others"),
    ],
)
def test_bad_field_is_named_with_file_and_clause(folder: Path, old: str, new: str, reason: str) -> None:
    assert old in GOOD
    put(folder, GOOD.replace(old, new))
    with pytest.raises(UsageError, match=rf"core/clauses\.toml, clause TEST-01: .*{reason}"):
        load_catalogue(folder)


@pytest.mark.parametrize("name", ["TEST", "test-01", "TEST-1", "TEST-01b"])
def test_bad_id(folder: Path, name: str) -> None:
    put(folder, GOOD.replace("TEST-01", name))
    assert f"core/clauses.toml, clause {name}: an id is capital letters" in refusal(folder)


def test_stray_value_is_no_clause(folder: Path) -> None:
    put(folder, "TEST-01 = 3")
    assert "clause TEST-01: a clause is a table of fields" in refusal(folder)


def test_clause_without_gpu_is_no_accelerator_clause(folder: Path) -> None:
    put(folder, GOOD, level="accelerator")
    assert "accelerator/clauses.toml, clause TEST-01: it is in the level accelerator, but" in refusal(folder)


def test_one_id_in_two_levels(folder: Path) -> None:
    put(folder, GOOD)
    put(folder, GOOD, level="failure")
    assert refusal(folder) == (
        "Clause TEST-01 is both in core/clauses.toml and in failure/clauses.toml: an id names one clause."
    )


def test_one_id_twice_in_a_file(folder: Path) -> None:
    put(folder, GOOD + GOOD)
    assert "level core cannot be read" in refusal(folder)
    assert "TEST-01" in refusal(folder)


def test_missing_file(folder: Path) -> None:
    (folder / "scale" / "clauses.toml").unlink()
    assert refusal(folder).startswith("The clauses of the level scale cannot be read from ")


def test_file_that_is_not_text(folder: Path) -> None:
    (folder / "core" / "clauses.toml").write_bytes(b"\xff")
    assert "level core cannot be read" in refusal(folder)


def test_clauses_outside_every_level(folder: Path) -> None:
    (folder / "extra").mkdir()
    (folder / "extra" / "clauses.toml").touch()
    assert "extra/clauses.toml belongs to no level" in refusal(folder)


def test_unknown_capability_is_not_this_modules_business(folder: Path) -> None:
    put(folder, GOOD + 'capabilities = ["levitation"]\n')
    assert load_catalogue(folder)["TEST-01"].capabilities == ("levitation",)
