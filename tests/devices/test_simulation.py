"""What simulated devices do, as docs/devices.md says it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any, TypeVar

from dcp_conformance.harness.cluster import Cluster, Died, Returned
from tests.devices import functions

T = TypeVar("T")


def seen(cluster: Cluster, function: Callable[[], T]) -> T:
    """What a function returned on one rank."""
    [outcome] = cluster.run(1, function)
    assert isinstance(outcome, Returned), outcome
    value: Any = outcome.value
    return value


def test_reading_device_memory_as_the_cpus_ends_the_process(simulated: Cluster) -> None:
    [outcome] = simulated.run(1, functions.read_as_cpu_memory)
    assert isinstance(outcome, Died) and outcome.signal == signal.SIGSEGV


def test_bits_survive_the_way_there_and_back(simulated: Cluster) -> None:
    assert seen(simulated, functions.bits_after_a_round_trip) == []


def test_a_missing_order_of_two_streams_is_seen_every_time(simulated: Cluster) -> None:
    for _ in range(3):
        race = seen(simulated, functions.race_of_two_streams)
        assert (race.unordered, race.waited_for, race.ready_before) == (0.0, 3.0, False)


def test_of_two_streams_without_an_order_the_later_runs_first(simulated: Cluster) -> None:
    assert seen(simulated, functions.latest_first) == [1.0]


def test_copies_without_waiting_happen_when_somebody_waits(simulated: Cluster) -> None:
    copies = seen(simulated, functions.copy_through_pinned_memory)
    assert (copies.before, copies.after, copies.pageable, copies.late_source) == (0.0, 7.0, 7.0, -1.0)
    assert copies.pinned == (16, 0)


def test_the_current_device_is_a_threads_own(simulated: Cluster) -> None:
    found = seen(simulated, functions.choose_devices)
    assert (found.chosen, found.made_on, found.in_a_thread, found.after_a_block) == (2, 2, 0, 2)


def test_memory_is_counted(simulated: Cluster) -> None:
    assert seen(simulated, functions.memory_in_use) == (1 << 20, 0, 1 << 20)


def test_files_of_torch_hold_device_tensors(simulated: Cluster) -> None:
    assert seen(simulated, functions.save_and_load_a_file) == ["sim:2 [0, 1, 2]", "cpu [0, 1, 2]", "sim:1 [0, 1, 2]"]


def test_operators_do_not_mix_devices(simulated: Cluster) -> None:
    told = seen(simulated, functions.mix_devices)
    assert len(told) == 2
    assert "sim:0" in told[0] and "sim:1" in told[0]
    assert "sim:0" in told[1] and "cpu" in told[1]


def test_an_optimizer_keeps_its_state_on_the_device(simulated: Cluster) -> None:
    assert seen(simulated, functions.train_a_step) == ["moved True", "sim:1"]


def test_ranks_share_no_device_with_each_other(simulated: Cluster) -> None:
    outcomes = simulated.run(2, functions.memory_in_use)
    assert [outcome.value for outcome in outcomes if isinstance(outcome, Returned)] == [(1 << 20, 0, 1 << 20)] * 2
