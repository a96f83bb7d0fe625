"""Every way a rank can end a run is an outcome, and outcomes of ranks are independent of each other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dcp_conformance.harness.cluster import Cluster, ClusterConfig, Died, Raised, Returned
from dcp_conformance.harness.errors import UsageError
from tests.cluster import functions

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize("world_size", [1, 2, 4, 16])
def test_every_rank_returns_its_value(cluster: Cluster, world_size: int) -> None:
    outcomes = cluster.run(world_size, functions.who, 21)
    assert [outcome.value for outcome in outcomes if isinstance(outcome, Returned)] == [
        (rank, world_size, 42) for rank in range(world_size)
    ]


def test_ranks_share_a_process_group(cluster: Cluster) -> None:
    assert [_value(outcome) for outcome in cluster.run(4, functions.all_reduced)] == [10] * 4


def test_a_function_is_found_by_its_name(cluster: Cluster) -> None:
    assert _value(cluster.run(1, "tests.cluster.functions:who", 1)[0]) == (0, 1, 2)


def test_ranks_know_who_they_are(cluster: Cluster) -> None:
    first = _value(cluster.run(2, functions.info)[1])
    assert first["initialized"] and first["group"] and first["backend"] == "gloo" and first["device"] == "cpu"
    assert first["nice_env"] == {"RANK": "1", "WORLD_SIZE": "2", "GLOO_SOCKET_IFNAME": "lo"}
    assert "" not in first["path"] and first["threads"] == "1"


def test_group_can_be_chosen(cluster: Cluster) -> None:
    assert not _value(cluster.run(2, functions.info, group=False)[0])["initialized"]
    assert _value(cluster.run(1, functions.info, group=True)[0])["initialized"]


def test_one_failing_rank_leaves_the_others_their_values(cluster: Cluster) -> None:
    zero, one, two, three = cluster.run(4, functions.value_or_error, 2)
    assert [_value(outcome) for outcome in (zero, one, three)] == ["fine"] * 3
    assert isinstance(two, Raised)
    error = two.error
    assert (error.type_name, error.text, error.picklable) == ("ValueError", "rank 2 fails", True)
    assert error.is_a("Exception") and not error.is_a("OSError")
    assert error.frames[-1][2] == "value_or_error" and "value_or_error" in error.traceback
    assert error.cause is not None and error.cause.type_name == "KeyError"


def test_checkpoint_exception_keeps_the_failure_of_each_rank(cluster: Cluster) -> None:
    outcome = cluster.run(1, functions.raise_checkpoint_exception)[0]
    assert isinstance(outcome, Raised)
    error = outcome.error
    assert error.is_a("CheckpointException") and not error.is_a("Exception")
    assert error.failures is not None and error.failures[1].is_a("OSError")
    assert "No space left" in error.failures[1].text
    assert error.failures[1].frames[-1][2] == "raise_checkpoint_exception"


@pytest.mark.parametrize(("name", "type_name"), [("exit", "SystemExit"), ("interrupt", "KeyboardInterrupt")])
def test_base_exceptions_are_answers(cluster: Cluster, name: str, type_name: str) -> None:
    outcome = cluster.run(1, functions.raise_base, name)[0]
    assert isinstance(outcome, Raised) and outcome.error.type_name == type_name


def test_an_exception_that_cannot_be_printed_or_pickled_is_told(cluster: Cluster) -> None:
    outcome = cluster.run(1, functions.raise_unfriendly)[0]
    assert isinstance(outcome, Raised)
    assert outcome.error.is_a("Unfriendly") and not outcome.error.picklable
    assert "__str__ raised RuntimeError" in outcome.error.text


@pytest.mark.parametrize("function", [functions.raise_cycle, functions.raise_deep_chain, functions.recurse])
def test_chains_of_causes_are_bounded(cluster: Cluster, function: object) -> None:
    outcome = cluster.run(1, f"tests.cluster.functions:{function.__name__}")[0]  # type: ignore[attr-defined]
    assert isinstance(outcome, Raised)
    depth, error = 0, outcome.error.cause
    while error is not None:
        depth, error = depth + 1, error.cause
    assert depth < 10


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (functions.return_lock, "not plain data (it holds _thread.lock)"),
        (functions.return_tensor, "not plain data (it holds torch."),
    ],
)
def test_a_value_that_cannot_travel_is_an_error_of_the_function(cluster: Cluster, function: object, words: str) -> None:
    outcome = cluster.run(1, f"tests.cluster.functions:{function.__name__}")[0]  # type: ignore[attr-defined]
    assert isinstance(outcome, Raised) and words in outcome.error.text


def test_the_driving_process_does_not_import_torch(cluster: Cluster) -> None:
    # Other tests of this process may have imported torch themselves; what counts is what a run adds.
    before = set(sys.modules)
    cluster.run(2, functions.all_reduced)
    assert not any(name.partition(".")[0] == "torch" for name in set(sys.modules) - before)


def test_the_controlling_side_imports_without_torch() -> None:
    modules = ", ".join(f"dcp_conformance.harness.{name}" for name in ("cluster", "verdicts.judge", "run.run"))
    program = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(ROOT)}).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_death_by_a_signal_is_told_with_its_number(cluster: Cluster, number: signal.Signals) -> None:
    alive, dead = cluster.run(2, functions.die_by_signal, 1, int(number))
    assert _value(alive) == "alive"
    assert isinstance(dead, Died) and (dead.signal, dead.exit_code) == (number, None)


def test_a_crash_in_native_code_shows_its_stack(cluster: Cluster) -> None:
    outcome = cluster.run(1, functions.die_in_native_code)[0]
    assert isinstance(outcome, Died) and outcome.signal == signal.SIGSEGV
    assert "die_in_native_code" in outcome.output


def test_exit_without_an_answer_is_told_with_its_code(cluster: Cluster) -> None:
    alive, dead = cluster.run(2, functions.exit_now, 1, 41)
    assert _value(alive) == "alive"
    assert isinstance(dead, Died) and (dead.signal, dead.exit_code) == (None, 41)


def test_events_survive_the_death_of_their_rank(cluster: Cluster) -> None:
    for outcome in cluster.run(2, functions.die_after_events):
        assert [event.data for event in outcome.events] == [
            {"name": "plan", "rank": outcome.rank},
            {"name": "write", "rank": outcome.rank},
        ]
        assert 0 <= outcome.events[0].at <= outcome.events[1].at < 5


def test_events_come_from_threads_and_children_too(cluster: Cluster) -> None:
    outcome = cluster.run(1, functions.emit_everywhere)[0]
    assert [event.data["at"] for event in outcome.events] == ["main", "thread", "fork", "exec"]
    assert not cluster.run(1, functions.who, 1)[0].events


def test_an_event_that_is_not_plain_data_says_so(cluster: Cluster) -> None:
    event = cluster.run(1, functions.emit_foreign)[0].events[0]
    assert event.kind == "value" and "torch" in event.data["not_plain_data"]


@pytest.mark.parametrize("failing", [False, True])
def test_a_forked_child_cannot_answer_for_its_rank(cluster: Cluster, failing: bool) -> None:
    assert _value(cluster.run(1, functions.fork_and_return, failing)[0]) == "parent"
    assert _value(cluster.run(1, functions.who, 1)[0]) == (0, 1, 2)


def test_call_runs_once_in_a_process_of_its_own(cluster: Cluster) -> None:
    first, second = cluster.call(functions.pid), cluster.call(functions.pid)
    assert _value(first) != _value(second)
    assert isinstance(cluster.call(functions.exit_now, 0, 9), Died)


@pytest.mark.parametrize("world_size", [0, 65, -1])
def test_world_size_has_bounds(cluster: Cluster, world_size: int) -> None:
    with pytest.raises(UsageError, match="1 to 64"):
        cluster.run(world_size, functions.pid)


def test_functions_without_a_name_are_refused(cluster: Cluster) -> None:
    def closure() -> int:
        return 1

    for function in (lambda: 1, closure, functions.Unfriendly().__str__):
        with pytest.raises(UsageError, match="cannot run on ranks"):
            cluster.run(1, function)
    with pytest.raises(UsageError, match="module:qualname"):
        cluster.run(1, "functions.pid")


def test_a_missing_function_is_an_error_on_the_rank(cluster: Cluster) -> None:
    outcome = cluster.run(1, "tests.cluster.functions:missing")[0]
    assert isinstance(outcome, Raised) and "has no function missing" in outcome.error.text


def test_arguments_that_cannot_be_pickled_are_refused(cluster: Cluster) -> None:
    with pytest.raises(UsageError, match="cannot be sent to ranks"):
        cluster.run(1, functions.take, lambda: 1)


def test_arguments_that_cannot_be_unpickled_are_an_error_on_the_rank(cluster: Cluster) -> None:
    outcome = cluster.run(1, functions.take, functions.Opens())[0]
    assert isinstance(outcome, Raised) and "arguments cannot be unpickled" in outcome.error.text


def test_other_systems_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(UsageError, match="need Linux"):
        Cluster(ClusterConfig(folder=tmp_path)).start()  # type: ignore[arg-type]


def _value(outcome: object) -> Any:
    assert isinstance(outcome, Returned), outcome
    return outcome.value
