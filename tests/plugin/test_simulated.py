"""A run on simulated devices: it checks, names the topology, and holds nothing."""

from __future__ import annotations

from pathlib import Path

from tests.plugin.command import certify


def test_run_on_simulated_devices_holds_no_level_and_says_why(tmp_path: Path) -> None:
    ended = certify(tmp_path, "reference_impl", "--device=sim", "--level=accelerator", "--clause=TYPE-17")
    assert ended.code == 0 and ended.certificate is not None, ended.text
    assert ended.clause("TYPE-17")["standing"] == "pass"
    [level] = [level for level in ended.certificate["levels"] if level["level"] == "accelerator"]
    assert level["state"] == "not decided"
    assert any("simulated" in reason for reason in ended.certificate["run"]["partial"])
    assert ended.certificate["environment"]["topology"]["device"] == "sim"
    [table] = [table for table in ended.certificate["tables"] if "where each clause" in table["title"]]
    assert table["rows"] == [["TYPE-17", 1, 1, "sim", "none"]]


def test_level_accelerator_is_no_part_of_a_run_on_the_cpu(tmp_path: Path) -> None:
    ended = certify(tmp_path, "reference_impl", "--level=accelerator")
    assert ended.code == 1 and ended.certificate is not None, ended.text
    reasons = {item["reason"] for item in ended.certificate["not_applicable"] if item["level"] == "accelerator"}
    assert reasons == {"needs an accelerator: name one with --device"}
