"""Values come back where they belong, and the caller's device and stream stay what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.subject.subject import Subject, module_on_ranks
from dcp_conformance.suites.accelerator.seen import must_be_right

if TYPE_CHECKING:
    from dcp_conformance.suites.accelerator import on_ranks_places as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.accelerator.on_ranks_places")


@pytest.mark.clauses("TYPE-13")
@pytest.mark.worlds(1, 2)
@pytest.mark.parametrize("end", ("cpu", "own", "next"))
@pytest.mark.parametrize("start", ("cpu", "own"))
def test_tensors_load_on_any_device(subject: Subject, world: int, start: str, end: str) -> None:
    must_be_right(subject, "TYPE-13", subject.observe(world, on_ranks.from_one_place_to_another, start, end))


@pytest.mark.clauses("TYPE-17")
def test_mixed_state_comes_back_with_every_value_in_its_place(subject: Subject) -> None:
    must_be_right(subject, "TYPE-17", subject.observe(1, on_ranks.mixed_places))


@pytest.mark.clauses("DEV-01")
@pytest.mark.parametrize("call", ("save", "load", "async_save"))
def test_current_device_and_stream_stay_the_callers(subject: Subject, call: str) -> None:
    must_be_right(subject, "DEV-01", subject.observe(1, on_ranks.chosen_device_and_stream, call))
