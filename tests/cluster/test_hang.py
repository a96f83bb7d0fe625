"""A hang is found soon, told from slow work, and shown with what every silent rank was doing."""

from __future__ import annotations

import time

from dcp_conformance.harness.cluster import Cluster, Hung, Returned
from tests.cluster import functions


def test_a_hang_is_declared_after_the_quiet_limit_and_shows_its_stack(cluster: Cluster) -> None:
    started = time.monotonic()
    answered, hung = cluster.run(2, functions.one_waits, 1)
    assert 1.5 <= time.monotonic() - started < 6
    assert isinstance(answered, Returned) and answered.value == "done"
    assert isinstance(hung, Hung) and not hung.stopped and hung.waited >= 1.5
    assert "wait_for_ever_in_a_named_place" in hung.stack


def test_a_rank_blocked_inside_gloo_shows_the_collective(cluster: Cluster) -> None:
    hung, answered = cluster.run(2, functions.blocked_in_gloo)
    assert isinstance(answered, Returned)
    assert isinstance(hung, Hung) and "barrier" in hung.stack and "blocked_in_gloo" in hung.stack


def test_a_busy_loop_ends_at_the_total_limit(cluster: Cluster) -> None:
    (hung,) = cluster.run(1, functions.loop_for_ever, timeout=2.5)
    assert isinstance(hung, Hung) and 2.5 <= hung.waited < 6
    assert "loop_for_ever" in hung.stack


def test_events_without_end_end_at_the_total_limit(cluster: Cluster) -> None:
    (hung,) = cluster.run(1, functions.emit_for_ever, timeout=1.0)
    assert isinstance(hung, Hung) and hung.waited < 5


def test_a_stopped_rank_is_named_as_stopped(cluster: Cluster) -> None:
    started = time.monotonic()
    answered, hung = cluster.run(2, functions.stop_myself, 1)
    assert time.monotonic() - started < 4
    assert isinstance(answered, Returned)
    assert isinstance(hung, Hung) and hung.stopped and "stopped by a signal" in hung.stack


def test_slow_work_is_no_hang(cluster: Cluster) -> None:
    assert isinstance(cluster.run(1, functions.work_slowly, 3.0)[0], Returned)


def test_work_of_a_child_is_no_hang(cluster: Cluster) -> None:
    assert isinstance(cluster.run(1, functions.work_in_child, 3.0)[0], Returned)


def test_answers_are_no_hang(cluster: Cluster) -> None:
    assert isinstance(cluster.run(1, functions.wait_and_report, 3.0)[0], Returned)


def test_the_next_run_after_a_hang_is_well(cluster: Cluster) -> None:
    cluster.run(2, functions.one_waits, 0, timeout=0.5)
    assert all(isinstance(outcome, Returned) for outcome in cluster.run(2, functions.all_reduced))
