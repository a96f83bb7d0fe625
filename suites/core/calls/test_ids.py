"""A checkpoint id that is a path means the place that a path means, however it is spelled."""

from __future__ import annotations

import pytest

from dcp_conformance.harness.laws.verbs import Untestable, holds, refused, returned, same
from dcp_conformance.harness.subject.subject import Subject, scenarios

on_ranks = scenarios("dcp_conformance.suites.core.calls.on_ranks_ids")
SPELLINGS = (
    "relative", "relative and nested", "trailing slash", "doubled slash", "dots", "Path", "relative Path",
    "another PathLike", "space", "hash", "question mark", "percent", "other letters", "tilde", "tilde in the name",
    "link to the parent",
)  # fmt: skip


@pytest.mark.clauses("API-22")
def test_missing_parent_folders_are_made(subject: Subject) -> None:
    same(returned(subject.run(1, on_ranks.missing_parents)))


@pytest.mark.clauses("API-25")
@pytest.mark.parametrize("spelling", SPELLINGS, ids=[spelling.replace(" ", "_") for spelling in SPELLINGS])
def test_spelling_of_a_path_does_not_matter(subject: Subject, spelling: str) -> None:
    [found] = returned(subject.run(1, on_ranks.both_ways, spelling))
    for what, different in found.items():
        same([different], what)


@pytest.mark.clauses("API-25")
def test_linked_folder_is_the_folder(subject: Subject) -> None:
    [found] = returned(subject.run(1, on_ranks.linked_root))
    for what, different in found.items():
        same([different], what)


@pytest.mark.clauses("API-26")
def test_relative_id_means_the_place_at_the_time_of_the_call(subject: Subject) -> None:
    [found] = returned(subject.run(1, on_ranks.folder_changed_meanwhile))
    if not found["reached"]:
        raise Untestable("the directory could not be changed before the writer wrote")
    if found["save"].ok:
        where = "in the new directory" if found["new"].ok else "nowhere"
        holds(found["old"].ok, f"a save by a relative id succeeded, but its checkpoint lies {where}", kind="moved")
        same([found["differences"]], "what the save left in the old directory")
    else:
        refused(found["old"], "a load of the failed save from the old directory", rank=0)
    refused(found["new"], "a load from the new directory, which was never saved to,", rank=0)
