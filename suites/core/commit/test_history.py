"""An id, its neighbours and its users over many saves: what loads is always what was saved there last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import must, must_match
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks
from dcp_conformance.suites.core.commit.looks import as_saved

if TYPE_CHECKING:
    from dcp_conformance.suites.core.commit import on_ranks_history as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.commit.on_ranks_history")

if TYPE_CHECKING:
    from dcp_conformance.suites.core.commit import on_ranks_ids_alike as on_ids
else:
    on_ids = module_on_ranks("dcp_conformance.suites.core.commit.on_ranks_ids_alike")

# Generation 10 sorts before generation 9.
SAVES = 12


@pytest.mark.clauses("FIN-06")
@pytest.mark.worlds(1, 2)
def test_each_of_many_saves_to_an_id_leaves_its_own_state(subject: Subject, world: int) -> None:
    as_saved(subject.observe(world, on_ranks.many_saves, SAVES, False))


@pytest.mark.clauses("API-09")
@pytest.mark.worlds(1, 2)
def test_one_writer_and_one_reader_see_each_of_many_saves(subject: Subject, world: int) -> None:
    as_saved(subject.observe(world, on_ranks.many_saves, SAVES, True))


@pytest.mark.clauses("FIN-06")
@pytest.mark.parametrize("before,after", ((2, 1), (1, 2), (4, 2)))
def test_save_by_other_ranks_than_before_leaves_exactly_its_own_state(
    subject: Subject, before: int, after: int
) -> None:
    subject.needs("overwrite")
    for version, ranks in ((1, before), (2, after)):
        subject.observe(ranks, on_ranks.save_as, version)
        for readers in (ranks,) if subject.lacks("resharding") else (1, ranks):
            for rank, (keys, look) in enumerate(subject.observe(readers, on_ranks.look_at, ranks, version)):
                must_match([look.found], f"what loads {look.when}")
                wanted = subject.alone(on_ranks.keys_of, ranks, version)
                must(keys == wanted, otherwise=f"{keys} are listed, {wanted} were saved last", kind="keys", rank=rank)


@pytest.mark.clauses("FIN-06")
def test_same_numbers_in_another_order_are_another_state(subject: Subject) -> None:
    as_saved([subject.alone(on_ranks.rearranged_saves)])


@pytest.mark.clauses("FIN-06")
def test_pieces_that_change_hands_are_those_of_the_last_save(subject: Subject) -> None:
    subject.needs("overwrite")
    subject.needs("multi_process")
    subject.needs("resharding")
    # The last piece of the old save belongs to a rank that the new one does not have.
    for version, owners in ((1, (0, 1, 2)), (2, (0, 0, 1)), (3, (1, 0, 0))):
        subject.observe(max(owners) + 1, on_ranks.save_pieces_as, version, owners, group=True, fresh=True)
        found = subject.alone(on_ranks.look_at_pieces, version, len(owners))
        must_match([found], f"what loads after pieces were saved by the ranks {owners}")


@pytest.mark.clauses("FIN-14")
@pytest.mark.worlds(1, 2)
@pytest.mark.parametrize("overwrite", (False, True), ids=("fresh", "saved_anew"))
def test_save_changes_no_checkpoint_but_its_own(subject: Subject, world: int, overwrite: bool) -> None:
    as_saved(subject.observe(world, on_ranks.neighbours, overwrite))


@pytest.mark.clauses("FIN-14")
def test_save_changes_no_checkpoint_of_a_name_like_its_own(subject: Subject) -> None:
    as_saved([subject.alone(on_ids.beside_ids_alike)])


@pytest.mark.clauses("BYTE-01")
@pytest.mark.worlds(1, 2)
def test_objects_that_change_in_place_are_saved_as_they_are_each_time(subject: Subject, world: int) -> None:
    subject.needs("objects")
    as_saved(subject.observe(world, on_ranks.moving_objects, 3))


@pytest.mark.clauses("INPL-05")
@pytest.mark.worlds(1, 2)
def test_object_that_moves_on_is_saved_as_it_is_each_time(subject: Subject, world: int) -> None:
    as_saved(subject.observe(world, on_ranks.moving_stateful, 3))
