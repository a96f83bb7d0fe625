"""Devices, global settings and optimizers: what surrounds a load does not change what it gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import must, must_match, must_refuse
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.core.values import on_ranks_devices as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.values.on_ranks_devices")

SETTINGS = ("default_dtype", "no_grad", "inference_mode", "deterministic", "default_device")
OPTIMIZERS = ("sgd", "adam_single", "adam_foreach", "adam_fused", "adamw_amsgrad", "adagrad", "bfloat16_adam")


@pytest.mark.clauses("TYPE-11")
@pytest.mark.worlds(2, 4)
def test_meta_targets_are_given_memory_and_values(subject: Subject, world: int) -> None:
    for rank, (elsewhere, found) in enumerate(subject.observe(world, on_ranks.meta_targets)):
        must(
            not elsewhere, otherwise=f"after a load into meta tensors, {'; '.join(elsewhere)}", kind="device", rank=rank
        )
        must_match([found])


@pytest.mark.clauses("TYPE-11")
def test_meta_sharded_target_is_refused(subject: Subject) -> None:
    for rank, attempt in enumerate(subject.observe(2, on_ranks.meta_sharded_target)):
        must_refuse(attempt, "a load into a ShardedTensor on the meta device", rank=rank)


@pytest.mark.clauses("TYPE-16")
@pytest.mark.parametrize("setting", SETTINGS)
def test_settings_of_torch_change_nothing_and_stay(subject: Subject, setting: str) -> None:
    (changed, saved_under, loaded_under) = subject.alone(on_ranks.under_setting, setting)
    must(not changed, otherwise=f"{'; '.join(changed)}", kind="settings")
    must_match([saved_under], f"a state that was saved under {setting.replace('_', ' ')}")
    must_match([loaded_under], f"a state that was loaded under {setting.replace('_', ' ')}")


@pytest.mark.clauses("TYPE-18")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_goes_on_bit_for_bit_after_a_load(subject: Subject, optimizer: str) -> None:
    (loaded, after) = subject.alone(on_ranks.optimizer_round_trip, optimizer)
    must_match([loaded], f"the state of {optimizer.replace('_', ' ')} after a load")
    must_match([after], f"the state of {optimizer.replace('_', ' ')} one step after a load")
