"""A few bytes that ask for much memory or time do not get it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import must
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.durability.damage import on_ranks_dear_objects as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.durability.damage.on_ranks_dear_objects")

# The longest bytes are 128 KiB; believing them costs twice this and more.
MOST_MEMORY = 64 << 20
# A refusal takes milliseconds; this leaves a busy machine its time.
MOST_SECONDS = 5.0


@pytest.mark.below_storage
@pytest.mark.clauses("CORR-12")
def test_few_bytes_in_the_place_of_an_object_cost_little(subject: Subject) -> None:
    for load in subject.alone(on_ranks.dear_loads):
        place = f"{load.what} in the place of the object {load.name!r}"
        must(load.grown < MOST_MEMORY, otherwise=f"a load with {place} took {load.grown >> 20} MiB of memory")
        must(load.seconds < MOST_SECONDS, otherwise=f"a load with {place} took {load.seconds:.0f} s")
