"""A tree on the disk is exactly the one that was asked for."""

from __future__ import annotations

from pathlib import Path

from dcp_conformance.harness.recording.operations import read_tree
from dcp_conformance.harness.replay.rebuild import rebuild


def test_what_was_there_is_gone_and_what_was_asked_for_is_there(tmp_path: Path) -> None:
    (tmp_path / "old" / "deep").mkdir(parents=True)
    (tmp_path / "old" / "deep" / "file").write_bytes(b"1")
    (tmp_path / "link").symlink_to("old")
    tree = {"id": None, "id/a": b"\0zeros first", "id/empty": b"", "current": "id", "x": None}
    rebuild(tmp_path, tree)
    assert read_tree(tmp_path) == tree
