"""A save is cut at any of its file operations, by a kill or by a power cut: what is left loads whole, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.crashes.explore import Exploration, Situation, explore, needs, remains
from dcp_conformance.harness.crashes.laws import (
    lawful,
    metadata_whole_or_none,
    never_mixed,
    new_once_returned,
    new_or_error,
    old_new_or_error,
    old_or_new,
)
from dcp_conformance.harness.laws.verbs import NotApplicable, must_match, must_succeed
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.harness.crashes import on_ranks as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.harness.crashes.on_ranks")

POWER = ("journal", "strict")
# Settings of the writer, by number among those that the backend offers beside its default ones. What has more than
# these is tried with the first ones.
SETTINGS = (1, 2, 3)
FEWER = 120


@pytest.mark.clauses("DUR-02", "DUR-03", "DUR-13", "DUR-14")
@pytest.mark.below_storage
@pytest.mark.worlds(1, 2)
def test_crash_anywhere_in_a_save_to_a_new_id_leaves_all_or_nothing(subject: Subject, world: int) -> None:
    needs(subject)
    judge_fresh(subject, explore(subject, Situation(ranks=world, metadata=True)))


@pytest.mark.clauses("DUR-02", "DUR-03", "DUR-13", "DUR-14")
@pytest.mark.below_storage
@pytest.mark.parametrize("settings", SETTINGS)
def test_crash_anywhere_in_a_save_with_other_settings_leaves_all_or_nothing(subject: Subject, settings: int) -> None:
    needs(subject)
    situation = Situation(options=settings, said=offered(subject, settings), metadata=True)
    judge_fresh(subject, explore(subject, situation, most=FEWER))


@pytest.mark.clauses("DUR-04", "DUR-05", "DUR-13", "DUR-14")
@pytest.mark.below_storage
@pytest.mark.parametrize(
    ("before", "world"),
    [(1, 1), (4, 1), (2, 2), (4, 2)],
    ids=["1over1ranks", "1over4ranks", "2over2ranks", "2over4ranks"],
)
def test_crash_anywhere_in_an_overwrite_leaves_old_or_new(subject: Subject, before: int, world: int) -> None:
    needs(subject, "overwrite", "crash_safe_overwrite")
    judge_overwrite(subject, explore(subject, Situation(ranks=world, before=before)))


@pytest.mark.clauses("DUR-04", "DUR-05", "DUR-13", "DUR-14")
@pytest.mark.below_storage
@pytest.mark.parametrize("settings", SETTINGS)
def test_crash_anywhere_in_an_overwrite_with_other_settings_leaves_old_or_new(subject: Subject, settings: int) -> None:
    needs(subject, "overwrite", "crash_safe_overwrite")
    situation = Situation(before=1, options=settings, old_options=settings, said=offered(subject, settings))
    judge_overwrite(subject, explore(subject, situation, most=FEWER))


@pytest.mark.clauses("FIN-10")
@pytest.mark.below_storage
@pytest.mark.worlds(1, 2)
def test_remains_of_a_crash_do_not_hinder_the_next_save(subject: Subject, world: int) -> None:
    needs(subject)
    found = remains(subject, Situation(ranks=world))
    if not found:
        raise NotApplicable("no crash of a save to a new id leaves anything that does not load")
    for cut, saved, loaded, different in found:
        must_succeed(saved, f"the next save to an id where {cut}", rank=0)
        must_succeed(loaded, f"a load of what was saved to an id where {cut}", rank=0)
        must_match([different], f"a load of what was saved to an id where {cut}")


def judge_fresh(subject: Subject, found: Exploration) -> None:
    """All promises about a save to a new id."""
    with subject.promise("DUR-02"):
        lawful(subject, found, new_or_error, models=("kill",))
    with subject.promise("DUR-03"):
        lawful(subject, found, metadata_whole_or_none, models=("kill", *POWER))
    with subject.promise("DUR-13"):
        lawful(subject, found, new_or_error, models=POWER)
    with subject.promise("DUR-14"):
        lawful(subject, found, new_once_returned, models=("journal",))


def judge_overwrite(subject: Subject, found: Exploration) -> None:
    """All promises about a save over a checkpoint."""
    with subject.promise("DUR-04"):
        lawful(subject, found, old_or_new, new_once_returned, models=("kill",))
    with subject.promise("DUR-05"):
        lawful(subject, found, never_mixed, models=("kill", *POWER))
    with subject.promise("DUR-13"):
        lawful(subject, found, old_new_or_error, models=POWER)
    with subject.promise("DUR-14"):
        lawful(subject, found, new_once_returned, models=("journal",))


def offered(subject: Subject, number: int) -> str:
    """Settings of the writer in words; NotApplicable where it does not offer so many."""
    sets = subject.alone(on_ranks.option_sets)
    if number >= len(sets):
        raise NotApplicable(f"it offers {len(sets)} ways to set its writer up")
    return str(sets[number])
