"""Old checkpoints still load, and new ones are what torch's readers expect."""

from __future__ import annotations

import pytest

from harness.laws import holds, returned, same
from harness.subject import Subject, scenarios

on_ranks = scenarios("suites.compatibility.scenarios.legacy")


@pytest.mark.clauses("FMT-10")
def test_layout_of_2_3_loads_into_a_nested_template(subject: Subject) -> None:
    same(returned(subject.run(1, on_ranks.load_layout_of_2_3)))


@pytest.mark.clauses("FMT-01")
def test_metadata_file_is_a_pickled_metadata_of_version_1(subject: Subject) -> None:
    [(is_metadata, version)] = returned(subject.run(1, on_ranks.metadata_file))
    holds(is_metadata, "the save left no file .metadata that holds a Metadata", kind="no metadata file")
    holds(version == "1.0.0", f"the metadata states version {version!r} instead of '1.0.0'", kind="version")
