"""Values keep every bit, targets keep their type and layout, and what cannot be kept is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import (
    Broken,
    NotApplicable,
    described,
    must,
    must_match,
    must_refuse,
    must_succeed,
)
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.core.values import on_ranks_dtypes as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.values.on_ranks_dtypes")

if TYPE_CHECKING:
    from dcp_conformance.suites.core.values import on_ranks_odd_types as odd_types
else:
    odd_types = module_on_ranks("dcp_conformance.suites.core.values.on_ranks_odd_types")

GRADIENTS = ("requires_grad", "parameter", "frozen_parameter", "non_leaf", "inference")
LOSSY = ("narrowing", "overflow", "complex_to_real", "float_to_integer", "integer_to_float", "integer_overflow")
INTO_TENSOR = ("number_into_tensor", "list_into_tensor")
INTO_OBJECT = ("tensor_into_number", "tensor_into_string")
UNUSUAL = (
    "uint4", "int4", "uint1", "bits8", "bits16", "sparse_coo", "sparse_csr", "nested", "jagged", "meta",
)  # fmt: skip


@pytest.mark.clauses("TYPE-01")
@pytest.mark.parametrize("dtype", ("float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64"))
def test_special_values_come_back_bit_for_bit(subject: Subject, dtype: str) -> None:
    must_match(subject.observe(1, on_ranks.special_values, dtype))


@pytest.mark.clauses("TYPE-03")
@pytest.mark.parametrize("mismatch", INTO_OBJECT)
def test_object_asked_for_where_a_tensor_is_stored_is_an_error(subject: Subject, mismatch: str) -> None:
    (attempt, _said, found) = subject.alone(on_ranks.kind_mismatch, mismatch)
    if attempt.ok:
        raise Broken(f"a load of a {mismatch.replace('_', ' ')} returned and left {found} there", kind="not refused")
    must_refuse(attempt, "the load", rank=0)


@pytest.mark.clauses("TYPE-19")
@pytest.mark.parametrize("mismatch", INTO_TENSOR)
def test_tensor_asked_for_where_an_object_is_stored_is_refused_or_reported(subject: Subject, mismatch: str) -> None:
    (attempt, said, found) = subject.alone(on_ranks.kind_mismatch, mismatch)
    must(
        not attempt.ok or bool(said),
        otherwise=f"a load of a {mismatch.replace('_', ' ')} returned in silence and left {found} there",
        kind="not told",
    )
    if not attempt.ok:
        must_refuse(attempt, "the load", rank=0)


@pytest.mark.clauses("TYPE-05")
@pytest.mark.parametrize("loss", LOSSY)
def test_lossy_conversion_is_refused_or_reported(subject: Subject, loss: str) -> None:
    observed = subject.alone(on_ranks.lossy_load, loss)
    attempt, said, found = observed
    must(
        not attempt.ok or bool(said),
        otherwise=f"a lossy load ({loss.replace('_', ' ')}) returned in silence and left {found}",
    )


@pytest.mark.clauses("TYPE-06")
@pytest.mark.parametrize("dtype", ("bfloat16", "float16", "float32", "int8", "uint8"))
def test_target_of_a_wider_dtype_stays_the_same_tensor(subject: Subject, dtype: str) -> None:
    (attempt, kept, now, found) = subject.alone(on_ranks.widening_load, dtype)
    if attempt.ok:
        must_match([found])
    must(
        kept, otherwise=f"the target of a load of {dtype} is another tensor or memory, of dtype {now}", kind="replaced"
    )


@pytest.mark.clauses("TYPE-07")
@pytest.mark.parametrize("kind", UNUSUAL)
def test_unusual_tensor_is_stored_or_refused_by_name_before_writing(subject: Subject, kind: str) -> None:
    observed = subject.alone(odd_types.unusual_round_trip, kind)
    if observed is None:
        raise NotApplicable(f"this torch has no {kind}")
    save, named, stored, load, found = observed
    if load is None:
        error = must_refuse(save, "the save", rank=0)
        must(
            named,
            otherwise=f"a {kind} tensor was refused without the name of its key: {described(error)}",
            kind="no key",
        )
        must(not stored, otherwise=f"a {kind} tensor was refused only after data had been stored", kind="too late")
        return
    must(kind != "meta", otherwise="a meta tensor was saved, which has no values", kind="not refused")
    must_succeed(load, f"a load of a {kind} tensor that was saved without an error", rank=0)
    must(not found, otherwise=f"after a load, {'; '.join(found)}", kind="values")


@pytest.mark.clauses("TYPE-08")
def test_quantized_tensor_gets_its_real_values_or_is_refused(subject: Subject) -> None:
    (save, load, found) = subject.alone(odd_types.quantized_round_trip)
    done = save.ok and load is not None and load.ok
    must(
        not done or found == [1.0, 1.0],
        otherwise=f"1.0 was saved and {found} was loaded into a target of another scale",
        kind="values",
    )


@pytest.mark.clauses("TYPE-09")
@pytest.mark.parametrize(
    "kind", ("tensor_subclass", "quantized", "custom_class", "attributed_tensor", "attributed_parameter")
)
def test_what_saves_without_complaint_loads(subject: Subject, kind: str) -> None:
    observed = subject.alone(odd_types.saved_without_complaint, kind)
    if observed is None:
        raise NotApplicable(f"the backend opted out of what a {kind.replace('_', ' ')} needs")
    _, said, load = observed
    if load is not None and not said:
        must_succeed(load, f"a load of a {kind.replace('_', ' ')} that was saved without complaint", rank=0)


@pytest.mark.clauses("TYPE-10")
@pytest.mark.parametrize("kind", GRADIENTS)
def test_autograd_history_is_left_alone(subject: Subject, kind: str) -> None:
    (changed, found) = subject.alone(on_ranks.gradient_round_trip, kind)
    must(not changed, otherwise=f"with a {kind.replace('_', ' ')} tensor, {'; '.join(changed)}", kind="history")
    must_match([found])


@pytest.mark.clauses("TYPE-12")
@pytest.mark.parametrize("expanded", (True, False), ids=("expanded", "strided"))
def test_target_that_shares_memory_with_itself_is_refused(subject: Subject, expanded: bool) -> None:
    (attempt, memory) = subject.alone(on_ranks.aliased_target, expanded)
    must_refuse(attempt, f"a load of four values into the memory of one, which now holds {memory[0]},", rank=0)
    must(set(memory) == {-1.0}, otherwise=f"the load raised, but had written {memory} before", kind="half written")


@pytest.mark.clauses("TYPE-14")
@pytest.mark.parametrize("layout", ("channels_last", "permuted", "every_other", "row_padded", "dense"))
def test_target_keeps_its_strides(subject: Subject, layout: str) -> None:
    (before, after, found) = subject.alone(on_ranks.target_layout, layout)
    must(before == after, otherwise=f"the strides of a {layout} target were {before} and are {after}", kind="strides")
    must_match([found])
