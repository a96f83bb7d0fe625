"""An asynchronous save is a save: it takes the arguments of one, and stores the values of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import must_match, must_succeed
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks
from dcp_conformance.suites.asynchronous.alike import Honoured

if TYPE_CHECKING:
    from dcp_conformance.suites.asynchronous import on_ranks_arguments as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.asynchronous.on_ranks_arguments")


@pytest.mark.clauses("ASYNC-28")
@pytest.mark.worlds(2)
@pytest.mark.parametrize("argument", ("planner", "process_group", "no_dist", "checkpoint_id"))
@pytest.mark.parametrize("kind", ("THREAD",), ids=("thread",))
def test_argument_of_an_asynchronous_save_means_what_it_means_to_save(
    subject: Subject, world: int, kind: str, argument: str
) -> None:
    for rank, honoured in enumerate(subject.observe(world, on_ranks.argument_honoured, kind, argument)):
        if honoured is not None:
            as_save_does(honoured, rank)


@pytest.mark.clauses("ASYNC-27")
@pytest.mark.worlds(1, 2)
@pytest.mark.parametrize("stager", (False, True), ids=("no_stager", "default_stager"))
def test_values_that_look_alike_are_kept_apart(subject: Subject, world: int, stager: bool) -> None:
    for turn, found in enumerate(zip(*subject.observe(world, on_ranks.many_alike, stager, 3), strict=True), 1):
        must_match(found, f"what the background save {turn} of its stager stored")


def as_save_does(one: Honoured, rank: int) -> None:
    """Broken unless a save with this argument succeeded and stored what the argument asks for."""
    must_succeed(one.ended, f"an async_save with {one.argument}", rank=rank)
    must_match([one.found], f"what was saved in the background with {one.argument}")
