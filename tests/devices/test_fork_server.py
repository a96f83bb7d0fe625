"""Ranks touch a device; the server that they are forked from touches none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dcp_conformance.harness.cluster import Cluster, ClusterConfig, Returned
from tests.devices import functions

TOUCHES = "from dcp_conformance.harness.devices import simulation\n\nsimulation.start()\n"


def test_a_module_that_touches_a_device_is_imported_in_the_ranks_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that calls torch.cuda at import: a server with it could fork no rank that may use a device."""
    (tmp_path / "touches_a_device.py").write_text(TOUCHES)
    monkeypatch.syspath_prepend(str(tmp_path))
    config = ClusterConfig(
        folder=tmp_path / "cluster", optional_preload=("touches_a_device",), search_path=(str(tmp_path),)
    )
    with Cluster(config) as cluster:
        [outcome] = cluster.run(1, functions.has_started, "touches_a_device")
        refused = cluster.refused()
    assert isinstance(outcome, Returned) and outcome.value == (True, True)
    assert refused["touches_a_device"] == "initialises the device sim"


def test_the_server_of_ranks_with_devices_touches_none(simulated: Cluster) -> None:
    [on_rank] = simulated.run(1, os.getpid)
    server = simulated.server_pid()
    assert isinstance(on_rank, Returned) and server is not None
    assert (_maps_a_device(on_rank.value), _maps_a_device(server)) == (True, False)


def _maps_a_device(pid: int) -> bool:
    return "memfd:simulated-device" in Path(f"/proc/{pid}/maps").read_text()
