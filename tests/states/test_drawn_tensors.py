"""Drawn tensors are what a comparison can be sure of: torch itself has one answer for what each of them holds."""

from __future__ import annotations

import pytest
import torch

from dcp_conformance.harness.states.drawn_tensors import laid
from dcp_conformance.harness.states.values import pattern


@pytest.mark.parametrize("dtype", (torch.float16, torch.bfloat16, torch.float32, torch.float64), ids=str)
def test_negated_tensor_holds_the_same_bits_wherever_torch_resolves_it(dtype: torch.dtype) -> None:
    negated = laid(pattern("noise", (8193,), dtype), "negated")
    assert negated.is_neg() and negated.isnan().any() == pattern("noise", (8193,), dtype).isnan().any()
    gapped = torch.empty(2 * 8193, dtype=dtype)[::2]
    gapped.copy_(negated)
    assert torch.equal(gapped.contiguous().view(torch.uint8), negated.resolve_neg().view(torch.uint8))
