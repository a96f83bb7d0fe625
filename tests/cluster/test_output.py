"""What ranks and their children print is kept with the run that printed it."""

from __future__ import annotations

import os

import pytest

from dcp_conformance.harness.cluster import Cluster, Died
from tests.cluster import functions


def test_output_of_ranks_and_children_is_captured(cluster: Cluster, capfd: pytest.CaptureFixture[str]) -> None:
    output = cluster.run(2, functions.speak, "hello")[1].output
    for line in ("hello from python on 1", "hello as an error", "hello from a child", "hello from C"):
        assert line in output
    assert "hello" not in "".join(capfd.readouterr())


def test_output_belongs_to_one_run(cluster: Cluster) -> None:
    cluster.run(1, functions.speak, "first")
    output = cluster.run(1, functions.speak, "second")[0].output
    assert "second" in output and "first" not in output
    assert cluster.run(1, functions.pid)[0].output == ""


def test_output_of_a_killed_rank_is_kept(cluster: Cluster) -> None:
    (outcome,) = cluster.run(1, functions.speak_and_die, "last words")
    assert isinstance(outcome, Died) and outcome.output == "last words\n"


def test_only_the_tail_of_much_output_is_kept(cluster: Cluster) -> None:
    output = cluster.run(1, functions.flood)[0].output
    assert output.endswith("line 3999\n") and len(output) <= 8 * 1024
    assert os.path.getsize(cluster.config.folder) < 1 << 20
