"""A checkpoint id that is a path means the place that a path means, however it is spelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import Untestable, must, must_match, must_refuse
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.core.calls import on_ranks_ids as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.calls.on_ranks_ids")

SPELLINGS = (
    "relative", "relative and nested", "trailing slash", "doubled slash", "dots", "Path", "relative Path",
    "another PathLike", "space", "hash", "question mark", "percent", "braces", "brackets", "conversions",
    "other letters", "tilde", "tilde in the name", "link to the parent",
)  # fmt: skip


@pytest.mark.clauses("API-22")
def test_missing_parent_folders_are_made(subject: Subject) -> None:
    must_match(subject.observe(1, on_ranks.missing_parents))


@pytest.mark.clauses("API-25")
@pytest.mark.parametrize("spelling", SPELLINGS, ids=[spelling.replace(" ", "_") for spelling in SPELLINGS])
def test_spelling_of_a_path_does_not_matter(subject: Subject, spelling: str) -> None:
    found = subject.alone(on_ranks.both_ways, spelling)
    for what, different in found.items():
        must_match([different], what)


@pytest.mark.clauses("API-25")
def test_linked_folder_is_the_folder(subject: Subject) -> None:
    found = subject.alone(on_ranks.linked_root)
    for what, different in found.items():
        must_match([different], what)


@pytest.mark.clauses("API-26")
def test_relative_id_means_the_place_at_the_time_of_the_call(subject: Subject) -> None:
    found = subject.alone(on_ranks.folder_changed_meanwhile)
    if not found["reached"]:
        raise Untestable("the directory could not be changed before the writer wrote")
    if found["save"].ok:
        where = "in the new directory" if found["new"].ok else "nowhere"
        must(
            found["old"].ok,
            otherwise=f"a save by a relative id succeeded, but its checkpoint lies {where}",
            kind="moved",
        )
        must_match([found["differences"]], "what the save left in the old directory")
    else:
        must_refuse(found["old"], "a load of the failed save from the old directory", rank=0)
    must_refuse(found["new"], "a load from the new directory, which was never saved to,", rank=0)
