"""Values keep every bit, targets keep their type and layout, and what cannot be kept is refused."""

from __future__ import annotations

import pytest

from dcp_conformance.harness.laws.verbs import (
    Broken,
    NotApplicable,
    described,
    holds,
    refused,
    returned,
    same,
    succeeded,
)
from dcp_conformance.harness.subject.subject import Subject, scenarios

on_ranks = scenarios("dcp_conformance.suites.core.values.on_ranks_dtypes")
odd_types = scenarios("dcp_conformance.suites.core.values.on_ranks_odd_types")
GRADIENTS = ("requires_grad", "parameter", "frozen_parameter", "non_leaf", "inference")
LOSSY = ("narrowing", "overflow", "complex_to_real", "float_to_integer", "integer_to_float", "integer_overflow")
MISMATCHES = ("number_into_tensor", "list_into_tensor", "tensor_into_number", "tensor_into_string")
UNUSUAL = (
    "uint4", "int4", "uint1", "bits8", "bits16", "sparse_coo", "sparse_csr", "nested", "jagged", "meta",
)  # fmt: skip


@pytest.mark.clauses("TYPE-01")
@pytest.mark.parametrize("dtype", ("float16", "bfloat16", "float32", "float64"))
def test_special_values_come_back_bit_for_bit(subject: Subject, dtype: str) -> None:
    same(returned(subject.run(1, on_ranks.special_values, dtype)))


@pytest.mark.clauses("TYPE-03")
@pytest.mark.parametrize("mismatch", MISMATCHES)
def test_other_kind_of_value_than_stored_is_an_error(subject: Subject, mismatch: str) -> None:
    [(attempt, found)] = returned(subject.run(1, on_ranks.kind_mismatch, mismatch))
    if attempt.ok:
        raise Broken(f"a load of a {mismatch.replace('_', ' ')} returned and left {found} there", kind="not refused")
    refused(attempt, "the load", rank=0)


@pytest.mark.clauses("TYPE-05")
@pytest.mark.parametrize("loss", LOSSY)
def test_lossy_conversion_is_refused_or_reported(subject: Subject, loss: str) -> None:
    [observed] = returned(subject.run(1, on_ranks.lossy_load, loss))
    if observed is None:
        raise NotApplicable("it needs a complex dtype, which the backend opted out of")
    attempt, said, found = observed
    holds(not attempt.ok or bool(said), f"a lossy load ({loss.replace('_', ' ')}) returned in silence and left {found}")


@pytest.mark.clauses("TYPE-06")
@pytest.mark.parametrize("dtype", ("bfloat16", "float16", "float32", "int8", "uint8"))
def test_target_of_a_wider_dtype_stays_the_same_tensor(subject: Subject, dtype: str) -> None:
    [(attempt, kept, now, found)] = returned(subject.run(1, on_ranks.widening_load, dtype))
    if attempt.ok:
        same([found])
    holds(kept, f"the target of a load of {dtype} is another tensor or memory, of dtype {now}", kind="replaced")


@pytest.mark.clauses("TYPE-07")
@pytest.mark.parametrize("kind", UNUSUAL)
def test_unusual_tensor_is_stored_or_refused_by_name_before_writing(subject: Subject, kind: str) -> None:
    [observed] = returned(subject.run(1, odd_types.unusual_round_trip, kind))
    if observed is None:
        raise NotApplicable(f"this torch has no {kind}")
    save, named, stored, load, found = observed
    if load is None:
        refused(save, "the save", rank=0)
        holds(named, f"a {kind} tensor was refused without the name of its key: {described(save.error)}", kind="no key")
        holds(not stored, f"a {kind} tensor was refused only after data had been stored", kind="too late")
        return
    holds(kind != "meta", "a meta tensor was saved, which has no values", kind="not refused")
    succeeded(load, f"a load of a {kind} tensor that was saved without an error", rank=0)
    holds(not found, f"after a load, {'; '.join(found)}", kind="values")


@pytest.mark.clauses("TYPE-08")
def test_quantized_tensor_gets_its_real_values_or_is_refused(subject: Subject) -> None:
    [(save, load, found)] = returned(subject.run(1, odd_types.quantized_round_trip))
    done = save.ok and load is not None and load.ok
    holds(
        not done or found == [1.0, 1.0],
        f"1.0 was saved and {found} was loaded into a target of another scale",
        kind="values",
    )


@pytest.mark.clauses("TYPE-09")
@pytest.mark.parametrize(
    "kind", ("tensor_subclass", "quantized", "custom_class", "attributed_tensor", "attributed_parameter")
)
def test_what_saves_without_complaint_loads(subject: Subject, kind: str) -> None:
    [observed] = returned(subject.run(1, odd_types.saved_without_complaint, kind))
    if observed is None:
        raise NotApplicable(f"the backend opted out of what a {kind.replace('_', ' ')} needs")
    _, said, load = observed
    if load is not None and not said:
        succeeded(load, f"a load of a {kind.replace('_', ' ')} that was saved without complaint", rank=0)


@pytest.mark.clauses("TYPE-10")
@pytest.mark.parametrize("kind", GRADIENTS)
def test_autograd_history_is_left_alone(subject: Subject, kind: str) -> None:
    [(changed, found)] = returned(subject.run(1, on_ranks.gradient_round_trip, kind))
    holds(not changed, f"with a {kind.replace('_', ' ')} tensor, {'; '.join(changed)}", kind="history")
    same([found])


@pytest.mark.clauses("TYPE-12")
@pytest.mark.parametrize("expanded", (True, False), ids=("expanded", "strided"))
def test_target_that_shares_memory_with_itself_is_refused(subject: Subject, expanded: bool) -> None:
    [(attempt, memory)] = returned(subject.run(1, on_ranks.aliased_target, expanded))
    refused(attempt, f"a load of four values into the memory of one, which now holds {memory[0]},", rank=0)
    holds(set(memory) == {-1.0}, f"the load raised, but had written {memory} before", kind="half written")


@pytest.mark.clauses("TYPE-14")
@pytest.mark.parametrize("layout", ("channels_last", "permuted", "every_other", "row_padded", "dense"))
def test_target_keeps_its_strides(subject: Subject, layout: str) -> None:
    [(before, after, found)] = returned(subject.run(1, on_ranks.target_layout, layout))
    holds(before == after, f"the strides of a {layout} target were {before} and are {after}", kind="strides")
    same([found])
