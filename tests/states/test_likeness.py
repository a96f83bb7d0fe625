"""A wrong value is named as what it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded, pattern

STATE = {
    "own0": coded(3, (8,), version=2),
    "own1": coded(4, (8,), version=2),
    "deep": {"own2": coded(5, (2, 3), version=2)},
}
WRONG: dict[str, tuple[Callable[[], torch.Tensor], str]] = {
    "zeros": (lambda: torch.zeros(8, dtype=torch.float64), "'own0' is zero in every element: 'own0'[0] is 0.0"),
    "another key": (lambda: STATE["own1"].clone(), "'own0' has the elements of 'own1': "),
    "an older save": (lambda: coded(3, (8,), version=1), "has every element of version 1, where version 2 was saved"),
    "half of an older save": (
        lambda: torch.cat([coded(3, (8,), version=1)[:4], STATE["own0"][4:]]), "has 4 of 8 elements of version 1",
    ),
    "other places of another key": (lambda: coded(4, (16,), version=2)[8:], "has every element of 'own1'"),
    "rotated": (lambda: STATE["own0"].roll(3), "has its elements moved by 3"),
    "reversed": (lambda: STATE["own0"].flip(0), "has its elements in reverse order"),
    "untouched": (lambda: blank(STATE["own0"]), "is in every element what the target held before"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_values_are_named(wrong: str) -> None:
    make, said = WRONG[wrong]
    [found] = differences(STATE, {**STATE, "own0": make()})
    assert said in found.sentence()
    assert "instead of" in found.sentence()


def test_one_wrong_element_has_no_other_name() -> None:
    changed = STATE["own0"].clone()
    changed[2] = 0.5
    [found] = differences(STATE, {**STATE, "own0": changed})
    assert found.sentence().startswith("'own0'[2] is 0.5")


@pytest.mark.parametrize("dtype", (torch.bool, torch.complex64, torch.float8_e4m3fn, torch.bfloat16, torch.uint8))
def test_no_dtype_is_in_the_way(dtype: torch.dtype) -> None:
    state = {"a": pattern("a", (6,), dtype), "b": pattern("b", (6,), dtype, version=9)}
    assert differences(state, {**state, "a": blank(state["a"])})
