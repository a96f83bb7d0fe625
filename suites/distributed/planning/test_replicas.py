"""What several ranks hold is stored once and loaded alike by all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import must, must_match
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks
from dcp_conformance.suites.distributed.planning import plans

if TYPE_CHECKING:
    from dcp_conformance.suites.distributed.planning import on_ranks_replicas as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.distributed.planning.on_ranks_replicas")


@pytest.mark.clauses("REPL-01")
@pytest.mark.worlds(2, 4)
def test_replicated_model_loads_alike_on_all_ranks(subject: Subject, world: int) -> None:
    must_match(subject.observe(world, on_ranks.model_of_all))


@pytest.mark.clauses("REPL-02")
def test_each_chunk_of_replicas_is_stored_once(subject: Subject) -> None:
    results, sizes = zip(*subject.observe(4, on_ranks.stored_size, fresh=True), strict=True)
    if any(result is not None for result in results):
        plans.written_once(plans.seen(results))
    if sizes[0] is not None:
        must(
            sizes[0] < 1.5 * (1 << 20), otherwise=f"1 MiB that 4 ranks hold takes {sizes[0]} bytes", kind="stored often"
        )
