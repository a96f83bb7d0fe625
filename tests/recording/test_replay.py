"""Replaying a recording: the kernel's rules for names and data, and what is durable when."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from dcp_conformance.harness.replay.disk import Disk, difference, everything
from dcp_conformance.harness.replay.inodes import Change, played
from tests.recording.made import committed, recording


def disk_after(*lines: Any, before: Any = None, journal: bool = True) -> Disk:
    disk = Disk(before or {}, journal=journal)
    for operation in recording(*lines, before=before).operations:
        disk.play(operation)
    return disk


@pytest.mark.parametrize(
    ("content", "change", "wanted"),
    [
        (b"", Change(0, b"ab"), b"ab"),
        (b"abcd", Change(1, b"XY"), b"aXYd"),
        (b"ab", Change(4, b"c"), b"ab\0\0c"),
        (b"abcd", Change(2, None), b"ab"),
        (b"ab", Change(4, None), b"ab\0\0"),
        (b"ab", Change(0, None), b""),
    ],
)
def test_changes_of_data(content: bytes, change: Change, wanted: bytes) -> None:
    assert played(content, [change]) == wanted


def test_committed_file_is_there_under_its_name_only() -> None:
    disk = disk_after(("mkdir", "id"), *committed("a", b"data", file=1))
    assert disk.tree() == {"id": None, "id/a": b"data"}
    assert not disk.pending_names() and not disk.dirty()


def test_rename_replaces_and_keeps_the_inode() -> None:
    disk = disk_after(
        ("open", "b", 1, {"created": True}), ("rename", "b", "a"), ("write", "b", 1, 0, b"new"), before={"a": b"old"}
    )
    assert disk.tree() == {"a": b"new"}


def test_exchange_link_and_symlink() -> None:
    disk = disk_after(("exchange", "a", "b"), ("link", "a", "c"), ("symlink", "d", "a"), before={"a": b"1", "b": b"2"})
    assert disk.tree() == {"a": b"2", "b": b"1", "c": b"2", "d": "a"}


def test_renamed_folder_takes_its_content_along() -> None:
    disk = disk_after(("rename", "x", "y"), ("unlink", "y/a"), before={"x": None, "x/a": b"1", "x/b": b"2"})
    assert disk.tree() == {"y": None, "y/b": b"2"}


def test_paths_lead_through_links() -> None:
    before = {"v1": None, "current": "v1"}
    disk = disk_after(("open", "current/f", 1, {"created": True}), before=before)
    assert disk.tree() == {"v1": None, "v1/f": b"", "current": "v1"}


@pytest.mark.parametrize(
    "line",
    [
        ("mkdir", "x"),
        ("rmdir", "x"),
        ("unlink", "x"),
        ("unlink", "gone"),
        ("rename", "gone", "x"),
        ("link", "x/a", "x"),
    ],
)
def test_what_the_kernel_refuses_changes_nothing(line: Any) -> None:
    before = {"x": None, "x/a": b"1"}
    assert disk_after(line, before=before).tree() == before


def test_number_of_a_removed_file_may_be_given_to_a_new_one() -> None:
    disk = disk_after(
        ("open", "a", 1, {"created": True}), ("write", "a", 1, 0, b"1"), ("unlink", "a"),
        ("open", "b", 1, {"created": True}), ("write", "b", 1, 0, b"2"),
    )  # fmt: skip
    assert disk.tree() == {"b": b"2"}


def test_journal_commits_all_earlier_names_with_any_fsync() -> None:
    lines = [("mkdir", "id"), ("open", "id/a", 1, {"created": True}), ("open", "id/b", 2, {"created": True})]
    assert not disk_after(*lines, ("fsync", "id/a", 1)).pending_names()


def test_strict_model_commits_the_names_of_one_folder_with_its_fsync() -> None:
    lines = [("mkdir", "id"), ("open", "id/a", 1, {"created": True})]
    assert len(disk_after(*lines, ("fsync", "id/a", 1), journal=False).pending_names()) == 2
    [left] = disk_after(*lines, ("fsync", "id"), journal=False).pending_names()
    assert left.said == "rank 0 mkdir id"


def test_data_is_durable_after_an_fsync_of_its_file_only() -> None:
    disk = disk_after(
        ("open", "a", 1, {"created": True}), ("write", "a", 1, 0, b"1"),
        ("open", "b", 2, {"created": True}), ("write", "b", 2, 0, b"2"), ("fsync", "a", 1),
    )  # fmt: skip
    assert [disk.path_of(number) for number in disk.dirty()] == ["b"]
    [other] = disk.dirty()
    assert disk.tree(contents={other: b""}) == {"a": b"1", "b": b""}


def test_lost_name_change_leaves_later_ones() -> None:
    disk = disk_after(("rename", "a", "b"), ("mkdir", "x"), before={"a": b"1"})
    rename, mkdir = disk.pending_names()
    assert disk.tree(lost=[rename]) == {"a": b"1", "x": None}
    assert disk.tree(lost=[mkdir]) == {"b": b"1"}


def test_name_change_that_became_durable_first_stays_in_its_place() -> None:
    disk = disk_after(
        ("open", "x/a", 1, {"created": True}), ("rename", "x/a", "y/a"), ("fsync", "y"),
        before={"x": None, "y": None}, journal=False,
    )  # fmt: skip
    [made] = disk.pending_names()
    assert disk.tree() == disk.tree(lost=[made]) == {"x": None, "y": None, "y/a": b""}


def test_synchronous_descriptor_writes_through() -> None:
    disk = disk_after(("open", "a", 1, {"created": True, "synchronous": True}))
    [write] = recording(("open", "a", 1, {"created": True}), ("write", "a", 1, 0, b"1")).operations[1:]
    disk.play(write)
    assert disk.is_synchronous(write) and disk.dirty()
    disk.settle(write)
    assert not disk.dirty()


def test_failed_operation_changed_nothing() -> None:
    assert disk_after(("unlink", "a", {"failed": 5}), before={"a": b"1"}).tree() == {"a": b"1"}


def test_everything_says_the_first_difference() -> None:
    whole = recording(("mkdir", "id"), *committed("a", b"data", file=1))
    assert everything(whole) == ""
    stored = dataclasses.replace(whole, after={"id": None, "id/a": b"dXta"})
    assert everything(stored) == "id/a is 4 bytes on the disk, and replaying gives other bytes from 1 on"
    assert "replaying does not give it" in everything(dataclasses.replace(whole, after={**whole.after, "m": b""}))


def test_what_cannot_be_replayed_is_said() -> None:
    lost = recording(("opaque", "a", {"target": "a shared writable mapping"}), after={"a": b""}, before={"a": b""})
    assert "cannot be replayed" in everything(lost)
    assert "never saw" in everything(recording(("write", "a", 7, 0, b"1"), after={}))


def test_difference_of_equal_trees_is_nothing() -> None:
    assert difference({"a": b"1", "b": None, "c": "a"}, {"c": "a", "b": None, "a": b"1"}) == ""
