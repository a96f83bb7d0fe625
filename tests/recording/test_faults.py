"""Faults that the supervisor makes: the right call of the right thread meets them, and nothing else does."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
import traceback
from pathlib import Path

import pytest

from dcp_conformance.harness.recording.client import Watching, link
from dcp_conformance.harness.recording.operations import load
from dcp_conformance.harness.recording.policy import Policy, Rule, decoded, encoded
from dcp_conformance.harness.replay import probe
from tests.recording.children import in_child, raised

notified = pytest.mark.skipif(bool(probe.why_not_notified()), reason=probe.why_not_notified() or "-")


@notified
def test_each_kind_of_call_fails_as_told(tmp_path: Path) -> None:
    def body(folder: Path, watching: Watching) -> None:
        path = folder / "a"
        watching.faults(Rule(calls=("open",), errno=errno.EACCES))
        raised(errno.EACCES, lambda: path.write_bytes(b"x"))
        assert not path.exists()
        for call, number, function in (
            ("write", errno.ENOSPC, lambda: path.write_bytes(b"x")),
            ("close", errno.EIO, lambda: path.write_bytes(b"y")),
            ("rename", errno.EROFS, lambda: path.rename(folder / "b")), ("unlink", errno.EIO, path.unlink),
            ("mkdir", errno.EDQUOT, (folder / "sub").mkdir),
        ):  # fmt: skip
            watching.faults(Rule(calls=(call,), errno=number))
            raised(number, function)
            assert watching.reached() == {0: 1}
            watching.faults()
        assert path.read_bytes() == b"y" and os.listdir(folder) == ["a"]

    assert in_child(tmp_path, body) == 0


@notified
def test_failed_close_closes(tmp_path: Path) -> None:
    def body(folder: Path, watching: Watching) -> None:
        watching.faults(Rule(calls=("close",), errno=errno.EIO))
        number = os.open(folder / "a", os.O_WRONLY | os.O_CREAT)
        raised(errno.EIO, lambda: os.close(number))
        assert str(folder) not in "".join(os.readlink(f"/proc/self/fd/{n}") for n in (0, 1, 2, number))

    assert in_child(tmp_path, body) == 0


@notified
def test_failed_close_leaves_nothing_open(tmp_path: Path) -> None:
    counts = []

    def body(folder: Path, watching: Watching) -> None:
        counts.append(open_files())
        watching.faults(Rule(calls=("close",), errno=errno.EIO))
        raised(errno.EIO, lambda: (folder / "a").write_bytes(b"x"))

    def after() -> None:
        assert counts == [open_files()]

    assert in_child(tmp_path, body, after=after) == 0


def open_files() -> int:
    """How many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


@notified
def test_short_write_writes_half(tmp_path: Path) -> None:
    def body(folder: Path, watching: Watching) -> None:
        watching.faults(Rule(calls=("write",), nth=2, action="short"))
        with open(folder / "a", "wb", buffering=0) as stream:
            assert stream.write(b"0123456789") == 10
            assert stream.write(b"abcdefghij") == 5
            assert stream.write(b"XY") == 2
            assert os.pwrite(stream.fileno(), b"--", 0) == 2
        assert (folder / "a").read_bytes() == b"--23456789abcdeXY"

    assert in_child(tmp_path, body) == 0


@notified
def test_folder_may_lie_deep(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    assert in_child(deep, lambda folder, _: (folder / "a").write_bytes(b"x")) == 0
    assert [item.call for item in load(deep / "recording").operations] == ["open", "write", "close"]


@notified
def test_thread_and_path_choose(tmp_path: Path) -> None:
    def body(folder: Path, watching: Watching) -> None:
        watching.faults(
            Rule(calls=("write",), thread=1, errno=errno.EIO),
            Rule(calls=("open",), path="sub/*", sticky=True, nth=2, errno=errno.ENOSPC),
        )
        (folder / "mine").write_bytes(b"x")
        worker = threading.Thread(target=raised, args=(errno.EIO, lambda: (folder / "its").write_bytes(b"x")))
        worker.start()
        worker.join()
        (folder / "sub").mkdir()
        (folder / "sub" / "first").write_bytes(b"x")
        for _ in range(2):
            raised(errno.ENOSPC, lambda: (folder / "sub" / "second").write_bytes(b"x"))
        assert watching.reached() == {0: 1, 1: 2}

    assert in_child(tmp_path, body) == 0


@notified
def test_kill_comes_before_the_call(tmp_path: Path) -> None:
    def body(folder: Path, watching: Watching) -> None:
        watching.faults(Rule(calls=("rename",), action="kill"))
        (folder / "a").write_bytes(b"x")
        os.rename(folder / "a", folder / "b")

    assert os.WTERMSIG(in_child(tmp_path, body)) == signal.SIGKILL
    assert os.listdir(tmp_path / "watched") == ["a"]


@notified
def test_slow_call_holds_nobody_else(tmp_path: Path) -> None:
    def body(folder: Path, watching: Watching) -> None:
        watching.faults(Rule(calls=("mkdir",), action="slow", seconds=0.3))
        worker = threading.Thread(target=(folder / "slow").mkdir)
        worker.start()
        time.sleep(0.05)
        (folder / "quick").write_bytes(b"x")
        assert not (folder / "slow").exists()
        worker.join()
        assert (folder / "slow").exists()

    assert in_child(tmp_path, body) == 0


@notified
def test_two_ranks_are_in_one_order(tmp_path: Path) -> None:
    watched = tmp_path / "watched"
    watched.mkdir()
    children = []
    for rank in range(2):
        child = os.fork()
        if not child:
            take_turns(tmp_path, watched, rank)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    found = load(tmp_path / "recording")
    opened = [(item.rank, item.path) for item in found.operations if item.call == "open"]
    assert opened == [(turn % 2, str(turn)) for turn in range(6)]
    assert sorted(text for _, text in found.marks) == ["returned on rank 0", "returned on rank 1"]


def take_turns(base: Path, watched: Path, rank: int) -> None:
    """Write a file as soon as the other rank has written the one before."""
    code = 1
    try:
        here = link(str(base / "socket"), rank, start=rank == 0)
        with here.watch(str(watched), world=2, path=str(base / "recording")) as watching:
            for turn in range(rank, 6, 2):
                while turn and not (watched / str(turn - 1)).exists():
                    time.sleep(0.001)
                (watched / str(turn)).write_bytes(b"x")
            watching.returned()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def test_rules_count_what_they_are_about() -> None:
    policy = Policy([Rule(calls=("write", "fsync"), nth=2, rank=1, errno=5)])
    met = [policy.fault(*call) for call in (
        ("write", 0, 0, "a"), ("write", 1, 0, "a"), ("open", 1, 0, "a"), ("fsync", 1, 3, "b"), ("write", 1, 0, "a"),
    )]  # fmt: skip
    assert [item is not None for item in met] == [False, False, False, True, False]
    assert policy.reached == {0: 1}


def test_rules_survive_their_journey() -> None:
    rules = [Rule(calls=("write",), path="a/*", sticky=True, errno=28), Rule(calls=("open",), action="slow")]
    assert decoded(encoded(rules)) == rules


@pytest.mark.parametrize("fields", [{"errno": 0}, {"nth": 0, "errno": 5}, {"action": "explode"}])
def test_rules_that_make_no_sense_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no such fault"):
        Rule(calls=("write",), **fields)  # type: ignore[arg-type]
