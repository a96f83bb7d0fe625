"""Ranks that disagree about the shape of things fail together, and leave nothing behind that loads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dcp_conformance.harness.laws.shared_failures import must_fail_everywhere
from dcp_conformance.harness.laws.verbs import must, must_refuse
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.distributed.planning import on_ranks_disagreements as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.distributed.planning.on_ranks_disagreements")


def refused_by_all(found: list[Any], what: str) -> None:
    """Every rank's save failed, and every rank's load of the id did."""
    for rank, (save, _writes, load) in enumerate(found):
        must_refuse(save, f"a save {what}", rank=rank)
        must_refuse(load, f"a load of the id whose save was {what}", rank=rank)


@pytest.mark.clauses("GLOB-08")
@pytest.mark.parametrize(
    "what", ("overlap", "overlap and gap", "outside"), ids=("overlap", "overlap_and_gap", "outside")
)
def test_chunks_that_overlap_or_leave_their_tensor_fail_the_save(subject: Subject, what: str) -> None:
    found = subject.observe(2, on_ranks.save_disagreeing, what)
    must_fail_everywhere([save for save, _writes, _load in found])
    refused_by_all(found, f"with chunks that do not fit ({what})")
    for rank, (_save, writes, _load) in enumerate(found):
        must(writes == 0, otherwise="write_data was called before the plans were checked", kind="written", rank=rank)


@pytest.mark.clauses("GLOB-09")
@pytest.mark.parametrize("what", ("gap", "missing rank"), ids=("gap", "missing_rank"))
def test_chunks_that_do_not_fill_their_tensor_fail_the_save(subject: Subject, what: str) -> None:
    refused_by_all(subject.observe(2, on_ranks.save_disagreeing, what), "of a tensor that is not whole")


@pytest.mark.clauses("GLOB-19")
def test_rank_alone_is_told_that_it_saves_half_a_tensor(subject: Subject) -> None:
    for rank, (save, said) in enumerate(subject.observe(2, on_ranks.save_half_alone)):
        if not said:
            must_refuse(save, "a save with no_dist=True of half a tensor", rank=rank)


@pytest.mark.clauses("GLOB-10")
def test_tensor_here_and_object_there_fail_the_save(subject: Subject) -> None:
    found = subject.observe(2, on_ranks.save_disagreeing, "kinds")
    must_fail_everywhere([save for save, _writes, _load in found])
    refused_by_all(found, "of a tensor here and an object there")


@pytest.mark.clauses("GLOB-11")
@pytest.mark.parametrize("what", ("shapes", "dtypes"))
def test_ranks_that_disagree_on_a_tensor_fail_the_save(subject: Subject, what: str) -> None:
    for rank, (save, _writes, _load) in enumerate(subject.observe(2, on_ranks.save_disagreeing, what)):
        must_refuse(save, f"a save of one name with two {what}", rank=rank)
