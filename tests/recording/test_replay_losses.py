"""What a power cut may take: every choice is one that real disks make, and the ones that matter are there."""

from __future__ import annotations

from typing import Any

from dcp_conformance.harness.replay.disk import Disk
from dcp_conformance.harness.replay.inodes import Change, Node
from dcp_conformance.harness.replay.losses import PAGE, SECTOR, data_losses, losses, name_losses
from tests.recording.made import recording


def disk_after(*lines: Any, before: Any = None, journal: bool = True) -> Disk:
    disk = Disk(before or {}, journal=journal)
    for operation in recording(*lines, before=before).operations:
        disk.play(operation)
    return disk


def file(durable: bytes, *changes: Change) -> Node:
    node = Node("file", durable=durable)
    for change in changes:
        node.change(change)
    return node


def contents(node: Node) -> list[bytes]:
    return [content for content, _ in data_losses(node)]


def test_small_new_file_is_empty_or_zeros_and_never_torn_inside_a_sector() -> None:
    assert contents(file(b"", Change(0, b"x" * 100))) == [b"", bytes(100)]


def test_emptied_file_may_be_old_or_empty() -> None:
    node = file(b"old", Change(0, None), Change(0, b"newer"))
    assert contents(node) == [b"old", b"", bytes(5)]


def test_synced_bytes_never_become_zeros() -> None:
    node = file(b"a" * 2000, Change(0, b"b" * 2000))
    assert b"a" * 2000 in contents(node)
    for content in contents(node):
        assert len(content) == 2000 and set(content) <= set(b"ab")


def test_appended_bytes_are_torn_where_sectors_and_pages_end() -> None:
    node = file(b"a" * 100, Change(100, b"b" * 3 * PAGE))
    for content in contents(node):
        assert content[:100] == b"a" * 100
        borders = {at for at in range(101, len(content)) if content[at] != content[at - 1]}
        assert all(border % SECTOR == 0 for border in borders), borders
    assert any(content[100:PAGE].strip(b"\0") == b"" and content.endswith(b"b") for content in contents(node))


def test_earlier_moments_of_a_file_are_possible() -> None:
    node = file(b"", *(Change(at * 10, bytes([65 + at]) * 10) for at in range(4)))
    found = contents(node)
    assert found[:4] == [b"", b"A" * 10, b"A" * 10 + b"B" * 10, b"A" * 10 + b"B" * 10 + b"C" * 10]


def test_no_loss_is_offered_twice_for_one_file() -> None:
    node = file(b"", Change(0, b"x" * 20000))
    assert len(contents(node)) == len(set(contents(node)))


def test_journal_loses_the_latest_names_first() -> None:
    disk = disk_after(("mkdir", "a"), ("mkdir", "b"))
    trees = [disk.tree(lost=names) for names, _ in name_losses(disk)]
    assert trees == [{"a": None, "b": None}, {}, {"a": None}]


def test_strict_model_loses_each_name_alone() -> None:
    disk = disk_after(("mkdir", "a"), ("mkdir", "b"), ("mkdir", "c"), journal=False)
    trees = [set(disk.tree(lost=names)) for names, _ in name_losses(disk)]
    for wanted in ({"a", "b", "c"}, set(), {"b", "c"}, {"a", "c"}, {"a", "b"}, {"a"}, {"b"}, {"c"}):
        assert wanted in trees


def test_renamed_file_that_was_never_synced_may_be_empty_under_its_new_name() -> None:
    lines = [
        ("open", "m.tmp", 1, {"created": True}), ("write", "m.tmp", 1, 0, b"metadata"), ("rename", "m.tmp", "m"),
    ]  # fmt: skip
    disk = disk_after(*lines, before={"m": b"old"})
    trees = [disk.tree(lost=loss.names, contents=dict(loss.contents)) for loss in losses(disk)]
    assert {"m": b""} in trees and {"m": b"metadata"} in trees and {"m": b"old"} in trees


def test_synced_disk_loses_nothing() -> None:
    disk = disk_after(("open", "a", 1, {"created": True}), ("write", "a", 1, 0, b"1"), ("fsync", "a", 1))
    assert [loss.said for loss in losses(disk)] == ["nothing"]


def test_long_lists_of_names_are_sampled() -> None:
    disk = disk_after(*(("mkdir", f"d{number}") for number in range(100)), journal=False)
    assert len(list(name_losses(disk))) < 40
