"""Devices, global settings and optimizers: what surrounds a load does not change what it gives."""

from __future__ import annotations

import pytest

from dcp_conformance.harness.laws.verbs import holds, refused, returned, same
from dcp_conformance.harness.subject.subject import Subject, scenarios

on_ranks = scenarios("dcp_conformance.suites.core.values.on_ranks_devices")
SETTINGS = ("default_dtype", "no_grad", "inference_mode", "deterministic", "default_device")
OPTIMIZERS = ("sgd", "adam_single", "adam_foreach", "adam_fused", "adamw_amsgrad", "adagrad", "bfloat16_adam")


@pytest.mark.clauses("TYPE-11")
@pytest.mark.worlds(2, 4)
def test_meta_targets_are_given_memory_and_values(subject: Subject, world: int) -> None:
    for rank, (elsewhere, found) in enumerate(returned(subject.run(world, on_ranks.meta_targets))):
        holds(not elsewhere, f"after a load into meta tensors, {'; '.join(elsewhere)}", kind="device", rank=rank)
        same([found])


@pytest.mark.clauses("TYPE-11")
def test_meta_sharded_target_is_refused(subject: Subject) -> None:
    for rank, attempt in enumerate(returned(subject.run(2, on_ranks.meta_sharded_target))):
        refused(attempt, "a load into a ShardedTensor on the meta device", rank=rank)


@pytest.mark.clauses("TYPE-16")
@pytest.mark.parametrize("setting", SETTINGS)
def test_settings_of_torch_change_nothing_and_stay(subject: Subject, setting: str) -> None:
    [(changed, saved_under, loaded_under)] = returned(subject.run(1, on_ranks.under_setting, setting))
    holds(not changed, f"{'; '.join(changed)}", kind="settings")
    same([saved_under], f"a state that was saved under {setting.replace('_', ' ')}")
    same([loaded_under], f"a state that was loaded under {setting.replace('_', ' ')}")


@pytest.mark.clauses("TYPE-18")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_goes_on_bit_for_bit_after_a_load(subject: Subject, optimizer: str) -> None:
    [(loaded, after)] = returned(subject.run(1, on_ranks.optimizer_round_trip, optimizer))
    same([loaded], f"the state of {optimizer.replace('_', ' ')} after a load")
    same([after], f"the state of {optimizer.replace('_', ' ')} one step after a load")
