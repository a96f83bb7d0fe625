"""Device memory is what training has least of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import must
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks
from dcp_conformance.suites.accelerator.seen import must_be_right

if TYPE_CHECKING:
    from dcp_conformance.suites.accelerator import on_ranks_memory as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.accelerator.on_ranks_memory")


@pytest.mark.clauses("DEV-05")
def test_save_and_load_take_little_device_memory(subject: Subject) -> None:
    peak = subject.alone(on_ranks.peak_of_save_and_load)
    must_be_right(subject, "DEV-05", [peak.seen])
    for call, taken in (("the save", peak.save), ("the load", peak.load)):
        otherwise = f"{call} took {taken} bytes of device memory beside a state whose largest tensor has {peak.largest}"
        must(taken <= 2 * peak.largest, otherwise=otherwise, kind="memory")
