"""What a load leaves behind can be loaded into again; a fresh optimizer gets back what it had learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import NotApplicable, Untestable, must_match, must_return, needs_reached
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.core.loading import on_ranks_in_place_again as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.loading.on_ranks_in_place_again")

if TYPE_CHECKING:
    from dcp_conformance.suites.core.loading import on_ranks_optimizers as optimizers
else:
    optimizers = module_on_ranks("dcp_conformance.suites.core.loading.on_ranks_optimizers")

# Of one group, of two with settings of their own, without any state, with a part that was frozen, with a schedule.
KINDS = ("one_group", "groups", "momentum", "stateless", "frozen", "scheduled")
REACHED = {"resolve_tensor": "resolve_tensor", "interrupt": "read_data"}


@pytest.mark.clauses("INPL-17")
@pytest.mark.parametrize("way", ("resolve_tensor", "interrupt", "missing"))
def test_load_after_a_failed_one_restores_everything(subject: Subject, way: str) -> None:
    outcomes = subject.run(1, on_ranks.load_after_failure, way)
    [observed] = must_return(outcomes)
    if observed is None:
        raise NotApplicable("a load through this engine is made to fail in another way")
    failed, found = observed
    if way in REACHED:
        needs_reached(outcomes, REACHED[way], (0,))
    if all(attempt.ok for attempt in failed):
        raise Untestable("no load failed, so nothing was left half-way")
    must_match([found], "the state of a second load into the same objects")


@pytest.mark.clauses("INPL-12")
@pytest.mark.parametrize("flat", (False, True), ids=("nested", "flattened"))
@pytest.mark.parametrize("kind", KINDS)
def test_fresh_optimizer_gets_its_state_and_settings_through_the_helpers(
    subject: Subject, kind: str, flat: bool
) -> None:
    must_match([subject.alone(optimizers.through_helpers, kind, flat)], "the restored optimizer")
