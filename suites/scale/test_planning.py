"""Planning stays in proportion to what is planned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import must
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.scale import on_ranks_planning as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.scale.on_ranks_planning")

# Processor seconds below which a measurement says nothing.
SHORT = 0.02


@pytest.mark.clauses("RSRC-08")
def test_planning_four_times_the_keys_takes_less_than_eight_times_the_time(subject: Subject) -> None:
    fewer, more = subject.observe(4, on_ranks.seconds_to_plan, [1000, 4000])[0]
    must(more < 8 * fewer, otherwise=f"planning 1000 keys took {fewer:.2f} s, and 4000 keys {more:.2f} s", kind="cost")


@pytest.mark.clauses("RSRC-08")
def test_planning_a_tensor_of_four_times_the_pieces_takes_less_than_eight_times_the_time(subject: Subject) -> None:
    fewer, more = subject.observe(4, on_ranks.seconds_for_pieces, [500, 2000])[0]
    must(
        more < 8 * max(fewer, SHORT),
        otherwise=f"planning a tensor of 500 pieces took {fewer:.2f} s, and one of 2000 pieces {more:.2f} s",
        kind="cost",
    )
