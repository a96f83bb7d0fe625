from __future__ import annotations

import json
import os

import pytest

from dcp_conformance.harness.certificate.files import check_target, read, write, write_text
from dcp_conformance.harness.certificate.junit import junit_xml
from dcp_conformance.harness.errors import UsageError
from tests.certificate.samples import certificate, clause, eventful, outcome

SMALL = certificate([clause()], [outcome()])


def test_a_certificate_is_written_and_read_back(tmp_path):
    path = tmp_path / "reports" / "certificate.json"
    write(eventful(), path)
    assert read(path) == eventful()
    assert os.listdir(path.parent) == ["certificate.json"]


def test_an_older_certificate_is_replaced(tmp_path):
    path = tmp_path / "certificate.json"
    path.write_text(json.dumps({"schema": "dcp-conformance/certificate/0"}))
    write(SMALL, path)
    assert read(path) == SMALL


def test_a_junit_file_of_ours_is_replaced_and_no_other(tmp_path):
    path = tmp_path / "junit.xml"
    for _ in range(2):
        write_text(junit_xml(SMALL), path)
    path.write_text('<?xml version="1.0"?><testsuites name="mine"/>')
    with pytest.raises(UsageError, match="not a report of this harness"):
        write_text(junit_xml(SMALL), path)


@pytest.mark.parametrize("content", ["", "mine", "{}", '{"schema": "other/1"}', "[1]", "\xff"])
def test_nothing_of_the_users_is_overwritten(tmp_path, content):
    path = tmp_path / "certificate.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(UsageError, match="not a report of this harness, so it is not overwritten"):
        write(SMALL, path)
    assert path.read_text(encoding="latin-1") == content


def test_links_and_folders_are_left_alone(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "missing")
    for name in ("folder", "link"):
        with pytest.raises(UsageError, match="not a plain file"):
            check_target(tmp_path / name)


def test_a_free_place_is_fine(tmp_path):
    check_target(tmp_path / "none" / "certificate.json")


def test_a_failed_write_leaves_the_old_certificate_and_no_draft(tmp_path, monkeypatch):
    path = tmp_path / "certificate.json"
    write(SMALL, path)

    def no_space(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(UsageError, match="No space left on device"):
        write(eventful(), path)
    assert read(path) == SMALL
    assert os.listdir(tmp_path) == ["certificate.json"]


def test_a_place_that_cannot_be_a_file_is_a_usage_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="Cannot write"):
        write_text("x", tmp_path / "file" / "junit.xml")


def test_data_that_is_no_certificate_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="Not a certificate"):
        write({}, tmp_path / "certificate.json")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("content", ["", "{}"])
def test_reading_something_else_is_a_usage_error(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(UsageError):
        read(path)
