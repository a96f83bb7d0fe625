"""A checkpoint is replaced in one step, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.cluster import Died
from dcp_conformance.harness.crashes.explore import Situation, explore, needs
from dcp_conformance.harness.crashes.laws import lawful, old_or_new
from dcp_conformance.harness.laws.verbs import Broken, Untestable, must_return
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.core.commit import on_ranks_replacing as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.commit.on_ranks_replacing")

MOST_OPERATIONS = 40


@pytest.mark.clauses("FIN-05")
@pytest.mark.below_storage
def test_death_at_any_operation_of_finish_leaves_the_old_or_the_new_checkpoint(subject: Subject) -> None:
    for number in range(1, MOST_OPERATIONS + 1):
        subject.observe(1, on_ranks.save_old, number)
        outcomes = subject.run(1, on_ranks.replace_killed, number)
        killed = [event for event in outcomes[0].events if event.kind == "fault"]
        if not (isinstance(outcomes[0], Died) and killed):
            [operations] = must_return(outcomes)
            if operations == 0:
                raise Untestable("no operation on files where the ids are was seen in finish, so none was interrupted")
            return
        loaded = subject.alone(on_ranks.what_loads, number)
        if loaded not in ("old", "new"):
            raise Broken(
                f"after a {killed[0].data['what']} (operation {number} of finish), a load gave {loaded}", kind="torn"
            )


@pytest.mark.clauses("FIN-05")
@pytest.mark.below_storage
@pytest.mark.parametrize("before", (1, 2), ids=("over1rank", "over2ranks"))
def test_death_at_any_system_call_of_finish_leaves_the_old_or_the_new_checkpoint(subject: Subject, before: int) -> None:
    needs(subject)
    lawful(subject, explore(subject, Situation(before=before), finish_only=True), old_or_new, models=("kill",))
