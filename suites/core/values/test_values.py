"""Every value comes back as it was: dtype, shape and bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import must, must_match
from dcp_conformance.harness.states.checklist import EXOTIC_DTYPES, ORDINARY_DTYPES
from dcp_conformance.harness.subject.spec import STYLES
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.core.values import on_ranks_values as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.values.on_ranks_values")


@pytest.mark.clauses("TYPE-02")
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("dtype", ORDINARY_DTYPES)
def test_ordinary_dtype_comes_back_bit_for_bit(subject: Subject, dtype: str, style: str) -> None:
    must_match(subject.observe(1, on_ranks.dtype_round_trip, dtype, style))


@pytest.mark.clauses("TYPE-15")
@pytest.mark.parametrize("dtype", EXOTIC_DTYPES)
def test_exotic_dtype_comes_back_bit_for_bit(subject: Subject, dtype: str) -> None:
    must_match(subject.observe(1, on_ranks.dtype_round_trip, dtype, STYLES[0]))


@pytest.mark.clauses("FIN-04")
def test_checkpoint_loads_where_nothing_is_left_of_the_program_that_saved_it(subject: Subject) -> None:
    subject.needs("multi_process")
    code, output, found = subject.alone(on_ranks.saved_by_a_program, timeout=120)
    must(code == 0, otherwise=f"a program that saved ended with {code}: {output[-2000:]}", kind="error", rank=0)
    must_match([found], "what another program had saved")


@pytest.mark.clauses("FIN-12")
def test_empty_state_saves_and_loads(subject: Subject) -> None:
    must_match(subject.observe(1, on_ranks.empty_round_trip))
