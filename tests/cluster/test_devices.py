"""One rank a device with NCCL where there are enough devices; otherwise ranks share devices through gloo."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcp_conformance.harness.cluster import Cluster, ClusterConfig, ClusterError, Raised, Returned
from tests.cluster import functions


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        (4, [("cuda:0", "cpu:gloo,cuda:nccl"), ("cuda:1", "cpu:gloo,cuda:nccl")]),
        (2, [("cuda:0", "cpu:gloo,cuda:nccl"), ("cuda:1", "cpu:gloo,cuda:nccl")]),
        (1, [("cuda:0", "gloo"), ("cuda:0", "gloo")]),
    ],
)
def test_ranks_take_their_devices(cluster: Cluster, devices: int, expected: list[tuple[str, str]]) -> None:
    outcomes = cluster.run(2, functions.take_pretended_device, devices)
    assert [outcome.value for outcome in outcomes if isinstance(outcome, Returned)] == expected


def test_a_missing_device_is_told(cluster: Cluster, tmp_path: Path) -> None:
    outcome = cluster.run(1, functions.take_pretended_device, 0)[0]
    assert isinstance(outcome, Raised) and "no 'cuda' device" in outcome.error.text
    config = ClusterConfig(folder=tmp_path, preload=("torch.distributed",), device="abacus")
    with Cluster(config) as other, pytest.raises(ClusterError, match="rank 0 of 1 could not start.*\n(.*\n)*.*abacus"):
        other.run(1, functions.pid)
