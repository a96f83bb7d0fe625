"""One cluster with short limits for the whole folder: most tests share its fork server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dcp_conformance.harness.cluster import Cluster, ClusterConfig


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster whose hangs are found after 1.5 s of quiet, and after 20 s in any case."""
    config = ClusterConfig(folder=tmp_path_factory.mktemp("cluster"), quiet_limit=1.5, total_limit=20.0)
    with Cluster(config) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Cluster:
    """The shared cluster."""
    return shared_cluster
