"""A cluster whose ranks have simulated devices, for the whole folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dcp_conformance.harness.cluster import Cluster, ClusterConfig


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with `device="sim"`."""
    config = ClusterConfig(folder=tmp_path_factory.mktemp("simulated"), device="sim", quiet_limit=5.0)
    with Cluster(config) as cluster:
        yield cluster
