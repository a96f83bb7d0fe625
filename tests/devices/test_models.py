"""The scenario that needs collectives on device tensors, on CPU tensors: all of it but the device."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcp_conformance.harness.cluster import Cluster, ClusterConfig, Returned
from dcp_conformance.harness.subject.spec import Part, SubjectSpec


@pytest.mark.parametrize(("how", "world"), (("fsdp", 2), ("hybrid", 4), ("tensor", 2), ("offloaded", 2)))
def test_sharded_model_comes_back_on_the_cpu(tmp_path: Path, how: str, world: int) -> None:
    control = Part(reference="dcp_conformance.harness.control")
    engine = Part(reference="dcp_conformance.reference_impl")
    spec = SubjectSpec(
        under_test=control.reference, storage=control, engine=engine, scratch=str(tmp_path), place="p", folder="/"
    )
    scenario = "dcp_conformance.suites.accelerator.on_ranks_sharded:sharded_model"
    with Cluster(ClusterConfig(folder=tmp_path / "ranks", quiet_limit=60.0, total_limit=120.0)) as cluster:
        outcomes = cluster.run(world, "dcp_conformance.harness.subject.session:perform", spec, scenario, (how,))
    for outcome in outcomes:
        assert isinstance(outcome, Returned), outcome
        assert outcome.value.found == () and outcome.value.places == ()
