"""The means without the kernel's help: it sees Python's own writing, and what it misses is found out."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from dcp_conformance.harness.recording import interposer, kernel
from dcp_conformance.harness.recording.client import Watching
from dcp_conformance.harness.recording.operations import load
from dcp_conformance.harness.recording.policy import Rule
from dcp_conformance.harness.replay.disk import everything
from tests.recording import writers
from tests.recording.children import in_child, raised

SEEN = ("python_file", "os_calls", "names", "threads")
MISSED = ("c_streams", "bare_system_calls", "database", "forked_child", "mapped_memory")


@pytest.mark.parametrize("name", SEEN)
def test_python_is_seen(tmp_path: Path, name: str) -> None:
    assert in_child(tmp_path, lambda folder, _: getattr(writers, name)(folder), python=True) == 0
    found = load(tmp_path / "recording")
    assert found.means == interposer.MEANS
    assert everything(found) == ""
    assert any(found.after.values())


@pytest.mark.parametrize("name", MISSED)
def test_what_is_missed_is_found_out(tmp_path: Path, name: str) -> None:
    assert in_child(tmp_path, lambda folder, _: getattr(writers, name)(folder), python=True) == 0
    assert everything(load(tmp_path / "recording")) != ""


def test_order_and_numbers_are_those_of_the_kernel(tmp_path: Path) -> None:
    assert in_child(tmp_path, lambda folder, _: writers.python_file(folder), python=True) == 0
    operations = load(tmp_path / "recording").operations
    assert [item.call for item in operations] == ["open", "write", "fsync", "write", "close", "open", "write", "close"]
    assert [item.offset for item in operations if item.call == "write"] == [0, 7, len(writers.DATA)]
    assert len({item.file for item in operations}) == 1


def test_faults_are_made(tmp_path: Path) -> None:
    def body(folder: Path, watching: Watching) -> None:
        watching.faults(Rule(calls=("write",), errno=errno.ENOSPC))
        raised(errno.ENOSPC, lambda: (folder / "a").write_bytes(b"x"))
        watching.faults(Rule(calls=("fsync",), errno=errno.EIO), Rule(calls=("write",), action="short"))
        raised(errno.EIO, lambda: writers.python_file(folder))
        assert watching.reached() == {0: 1, 1: 1}
        watching.faults(Rule(calls=("mkdir",), nth=2, errno=errno.EROFS))
        (folder / "one").mkdir()
        raised(errno.EROFS, (folder / "two").mkdir)

    assert in_child(tmp_path, body, python=True) == 0
    assert everything(load(tmp_path / "recording")) == ""


def test_it_takes_over_where_the_kernel_forbids_a_filter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(supervisor: int, lines: bytes) -> int:
        raise PermissionError(errno.EPERM, "seccomp: not here")

    monkeypatch.setattr(kernel, "install_filter", refused)
    assert in_child(tmp_path, lambda folder, _: writers.python_file(folder)) == 0
    found = load(tmp_path / "recording")
    assert (found.means, everything(found)) == (interposer.MEANS, "")


def test_functions_are_python_s_again(tmp_path: Path) -> None:
    before = open
    interposed = interposer.Interposer(lambda *_, **__: {"action": ""}, str(tmp_path))
    with interposed.in_place():
        assert open is not before
    assert open is before
