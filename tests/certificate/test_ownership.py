from __future__ import annotations

import pytest

from dcp_conformance.harness.verdicts.ownership import applicability, owned_letters
from tests.certificate.samples import Description, clause

STORAGE = Description(letters=("S", "F"))
FUNCTIONS = ("save", "load", "async_save")
WHOLE = Description(letters=("S", "E", "P", "F", "U"), functions=FUNCTIONS, offers=("drop_in", "extensions"))


def kind(bound, description, *, devices=0):
    return applicability(bound, description, devices=devices).kind


@pytest.mark.parametrize(
    ("applies", "expected"),
    [
        ("S", "owned"),
        ("F", "owned"),
        ("SF", "owned"),
        ("SE", "owned"),
        ("SP", "owned"),
        ("FP", "owned"),
        ("E", "engine"),
        ("P", "engine"),
        ("EP", "engine"),
        ("U", "not-applicable"),
    ],
)
def test_a_storage_pair_owns_what_it_supplies_a_part_of(applies, expected):
    assert kind(clause(applies=applies), STORAGE) == expected


@pytest.mark.parametrize("applies", ["S", "E", "P", "F", "U"])
def test_who_supplies_everything_owns_everything(applies):
    assert kind(clause(applies=applies), WHOLE) == "owned"


def test_format_binds_only_a_storage_pair_that_claims_it():
    refusing = Description(letters=("S", "F"), unsupported={"torch_format": "one object per tensor"})
    assert owned_letters(refusing) == {"S"}
    assert owned_letters(Description(letters=("E", "F"), functions=("save", "load"))) == {"E", "P", "S"}
    assert kind(clause(applies="F"), refusing) == "not-applicable"


def test_an_engine_with_a_store_of_its_own_answers_for_the_storage():
    own = Description(letters=("E",), functions=("save", "load"))
    assert kind(clause(applies="S"), own) == "owned"
    assert kind(clause(applies="S"), Description(letters=("E",), functions=("save",))) == "not-applicable"


def test_who_exports_an_engine_supplies_its_planner_too():
    assert kind(clause(applies="P"), Description(letters=("S", "E"), functions=("save", "load"))) == "owned"


@pytest.mark.parametrize("applies", ["E", "P"])
@pytest.mark.parametrize("function", ["save", "load"])
def test_who_exports_one_function_owns_the_clauses_about_it(applies, function):
    part = Description(letters=("S", "E"), functions=(function,))
    other = "load" if function == "save" else "save"
    assert kind(clause(applies=applies, about=(function,)), part) == "owned"
    assert kind(clause(applies=applies, about=("save", "load")), part) == "owned"
    absent = applicability(clause(applies="E", about=(other,)), part, devices=0)
    assert (absent.kind, absent.reason) == ("engine", f"the backend exports no {other} of its own")


def test_an_async_save_alone_brings_no_planner():
    part = Description(letters=("S", "E"), functions=("async_save",))
    kinds = [kind(clause(applies=applies, about=("async_save",)), part) for applies in "EP"]
    assert kinds == ["owned", "engine"]
    assert kind(clause(applies="E", about=("save", "load")), part) == "engine"


def test_named_tools_bind_only_who_exports_all_of_them():
    bound = clause(applies="U", tools=("dcp_to_torch_save", "torch_save_to_dcp"))
    one, both = (Description(letters=("S", "U"), exports=bound.tools[:count]) for count in (1, 2))
    assert (kind(bound, one), kind(bound, both)) == ("not-applicable", "owned")


def test_an_engine_without_storage_is_not_bound_by_storage_clauses():
    applies = applicability(clause(applies="S"), Description(letters=("E",)), devices=0)
    assert (applies.kind, applies.reason) == ("not-applicable", "the backend supplies no storage writer and reader")


def test_drop_in_clauses_bind_only_who_offers_it():
    bound = clause(applies="E", drop_in=True)
    assert kind(bound, WHOLE) == "owned"
    refused = applicability(bound, STORAGE, devices=0)
    assert refused.kind == "not-applicable"
    assert "drop_in" in refused.reason


def test_extensions_bind_only_who_offers_them():
    bound = clause(capabilities=("extensions",))
    assert kind(bound, WHOLE) == "owned"
    assert applicability(bound, STORAGE, devices=0).reason == "the backend does not offer extensions"


@pytest.mark.parametrize("applies", ["S", "E"])
def test_an_opted_out_capability_shows_its_reason(applies):
    bound = clause(applies=applies, capabilities=("overwrite",))
    answer = applicability(bound, Description(unsupported={"overwrite": "write-once store"}), devices=0)
    assert (answer.kind, answer.reason) == ("not-applicable", "overwrite is not supported: write-once store")
    assert kind(bound, Description(letters=("S", "E"), functions=("save", "load"))) == "owned"


def test_two_ranks_and_more_need_multi_process():
    alone = Description(unsupported={"multi_process": "single process"})
    assert kind(clause(world=1), alone) == "owned"
    assert kind(clause(world=2), alone) == "not-applicable"


def test_gpu_clauses_need_a_gpu():
    bound = clause(gpu=True, level="accelerator")
    assert kind(bound, STORAGE) == "not-applicable"
    assert kind(bound, STORAGE, devices=1) == "owned"


def test_every_answer_but_owned_has_a_reason():
    for applies in ("E", "P", "EP", "U"):
        assert applicability(clause(applies=applies), STORAGE, devices=0).reason
