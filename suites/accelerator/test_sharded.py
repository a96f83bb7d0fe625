"""Sharded values and sharded models, on devices and off them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.subject.subject import Subject, module_on_ranks
from dcp_conformance.suites.accelerator.seen import must_be_right

if TYPE_CHECKING:
    from dcp_conformance.suites.accelerator import on_ranks_sharded as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.accelerator.on_ranks_sharded")


@pytest.mark.clauses("DEV-06")
@pytest.mark.worlds(2, 4)
@pytest.mark.parametrize(("start", "end"), (("cpu", "device"), ("device", "cpu"), ("device", "device")))
def test_sharded_tensors_move_between_devices_and_the_cpu(subject: Subject, world: int, start: str, end: str) -> None:
    must_be_right(subject, "DEV-06", subject.observe(world, on_ranks.between_layouts, start, end, fresh=True))


@pytest.mark.clauses("DEV-07")
@pytest.mark.worlds(2, 4)
@pytest.mark.parametrize("how", ("fsdp", "hybrid", "tensor", "offloaded"))
def test_model_sharded_over_devices_comes_back(subject: Subject, world: int, how: str) -> None:
    must_be_right(subject, "DEV-07", subject.observe(world, on_ranks.sharded_model, how, fresh=True))


@pytest.mark.clauses("DEV-08")
def test_offloaded_state_goes_back_to_its_device(subject: Subject) -> None:
    must_be_right(subject, "DEV-08", subject.observe(1, on_ranks.offloaded_state))
