"""The scratch folder and stored bytes: only what a run made is ever deleted, and nothing leads out of it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import dcp_conformance.harness.scratch
from dcp_conformance.harness.backend.record import Backend, FileBlobs
from dcp_conformance.harness.errors import UsageError
from dcp_conformance.harness.scratch import MARKER, choose_scratch, discard_scratch, filesystem_type, run_folder_of

# A run that ends without a chance to clean up; its folder is printed.
KILLED = """
import os, sys
from dcp_conformance.harness.scratch import choose_scratch
print(choose_scratch(sys.argv[1], keep=sys.argv[2] == "kept"), flush=True)
os._exit(0)
"""
BACKEND = Backend(name="paths", writer=print, reader=print)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return choose_scratch(str(tmp_path / "scratch"))


def test_each_run_has_a_fresh_folder_below_the_chosen_one(tmp_path: Path) -> None:
    first, second = choose_scratch(str(tmp_path / "new")), choose_scratch(str(tmp_path / "new"))

    assert first != second
    assert first.parent == second.parent == tmp_path / "new"


def test_the_default_is_on_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(dcp_conformance.harness.scratch.tempfile, "gettempdir", lambda: "/dev/shm")
    monkeypatch.chdir(tmp_path)

    run = choose_scratch(None)

    assert filesystem_type(run) not in dcp_conformance.harness.scratch.MEMORY_FILE_SYSTEMS
    discard_scratch(run)


def test_a_file_or_an_unwritable_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(UsageError, match="not a folder, and it cannot be made"):
        choose_scratch(str(tmp_path / "file"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UsageError, match="the folder is not writable"):
        choose_scratch(str(tmp_path))


def test_only_a_folder_of_a_run_is_removed(run: Path) -> None:
    (run / "closed").mkdir(mode=0)

    with pytest.raises(ValueError, match="was not made by a run"):
        discard_scratch(run.parent)
    discard_scratch(run)
    assert run.parent.is_dir() and not run.exists()


def test_what_a_backend_leaves_is_removed(run: Path) -> None:
    (run / MARKER).unlink()
    before = os.getcwd()
    os.chdir(run)
    for _ in range(1500):  # beyond what Python's own removal can recurse into
        os.mkdir("d")
        os.chdir("d")
    os.chdir(before)

    assert discard_scratch(run) == [] and not run.exists()


def test_what_stays_is_said(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dcp_conformance.harness.scratch, "_remove", lambda folder: None)

    [sentence] = discard_scratch(run)
    assert str(run) in sentence and "could not be removed" in sentence


def test_the_folder_of_a_killed_run_is_swept_by_the_next(tmp_path: Path) -> None:
    folders = {
        name: Path(subprocess.check_output([sys.executable, "-c", KILLED, str(tmp_path), name], text=True).strip())
        for name in ("dropped", "kept")
    }
    alive = choose_scratch(str(tmp_path))
    (tmp_path / "dcp-conformance-of-somebody").mkdir()
    pipe = tmp_path / "dcp-conformance-pipe"
    pipe.mkdir()
    os.mkfifo(pipe / MARKER)

    choose_scratch(str(tmp_path))

    assert not folders["dropped"].exists() and folders["kept"].exists()
    assert alive.exists() and pipe.exists() and (tmp_path / "dcp-conformance-of-somebody").exists()


def test_the_type_of_a_file_system_is_told(tmp_path: Path) -> None:
    assert filesystem_type("/proc/self") == "proc"
    assert filesystem_type(tmp_path / "not" / "there") == filesystem_type(tmp_path) != "unknown"


@pytest.mark.parametrize("name", ["", ".", "..", "../beside", "/absolute", "a/../../b"])
def test_a_checkpoint_id_stays_below_the_scratch_folder(run: Path, name: str) -> None:
    with pytest.raises(ValueError, match="does not name a checkpoint below"):
        BACKEND.new_checkpoint_id(str(run), name)


def test_discard_deletes_below_a_run_only(run: Path, tmp_path: Path) -> None:
    inside, outside = Path(BACKEND.new_checkpoint_id(str(run), "one")), tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "data").write_text("x")
    (run / "link").symlink_to(outside)
    (tmp_path / "way-in").symlink_to(run)

    assert BACKEND.discard(str(inside)) and not inside.exists()
    assert BACKEND.discard(str(inside)), "what is not there is discarded already"
    assert BACKEND.discard(str(run / "link")) and not (run / "link").is_symlink()
    for refused in (outside, run, run / "..", tmp_path / "way-in"):
        with pytest.raises(ValueError, match="not deleted"):
            BACKEND.discard(str(refused))
    assert (outside / "data").exists()
    assert BACKEND.discard("s3://bucket/key") is False


def test_blobs_are_the_files_of_a_checkpoint(run: Path) -> None:
    blobs = BACKEND.blobs(str(run / "one"))

    assert blobs.names() == []
    blobs.write("rank0/data", b"abc")
    blobs.write("meta", b"def")
    (run / "one" / "meta").chmod(stat.S_IRUSR)
    blobs.write("meta", b"new")
    blobs.delete("rank0/data")

    assert blobs.names() == ["meta"]
    assert blobs.read("meta") == b"new"
    with pytest.raises(KeyError):
        blobs.read("rank0/data")


def test_a_checkpoint_that_is_one_file_has_one_blob(run: Path) -> None:
    (run / "one.ckpt").write_bytes(b"abc")
    blobs = FileBlobs(run / "one.ckpt")

    assert blobs.names() == ["one.ckpt"]
    assert blobs.read("one.ckpt") == b"abc"


def test_blobs_follow_links_inside_the_run_and_never_out_of_it(run: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("outside")
    (run / "version1").mkdir()
    (run / "version1" / "data").write_bytes(b"inside")
    (run / "version1" / "leak").symlink_to(tmp_path / "secret")
    (run / "one").symlink_to(run / "version1")
    blobs = FileBlobs(run / "one")

    assert blobs.names() == ["data"]
    with pytest.raises(ValueError, match="leads out of"):
        blobs.write("leak", b"changed")
    for name in ("../escape", "/etc/escape", "a/../../b", "nul\0"):
        with pytest.raises(ValueError, match="is not the name of a stored object"):
            blobs.write(name, b"")
    assert (tmp_path / "secret").read_text() == "outside"


def test_stored_bytes_behind_an_address_are_out_of_reach() -> None:
    with pytest.raises(LookupError, match="gives no blobs"):
        BACKEND.blobs("s3://bucket/key")


def test_the_run_folder_of_a_path_is_told(run: Path) -> None:
    assert run_folder_of(run / "a" / "b") == run
    assert run_folder_of(run) is None
