"""Torch's own files: what the subject writes is what others expect, and lawful files of others are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import Broken, must, must_match
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks
from dcp_conformance.suites.compatibility.files.reach import reachable

if TYPE_CHECKING:
    from dcp_conformance.suites.compatibility.files import on_ranks_format as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.compatibility.files.on_ranks_format")


METADATA_CLASS = "torch.distributed.checkpoint.metadata.Metadata"
READS = [
    ("read", 3, 0), ("read", 100, 0), ("read", 5, 0), ("seek", 0, 0), ("read", -1, 0), ("read", -1, 0), ("seek", 2, 0),
    ("readinto", 4, 0), ("readinto", 9, 0), ("readinto", 9, 0), ("seek", 0, 0), ("readinto", 8, 0), ("seek", 1, 0),
    ("seek", 2, 1), ("read", 2, 0), ("seek", 0, 2), ("read", 1, 0),
]  # fmt: skip
READS_FROM_THE_END = [("seek", -3, 2), ("read", 2, 0), ("read", 9, 0)]


@pytest.mark.clauses("FMT-01")
def test_metadata_file_is_a_pickled_metadata_of_version_1(subject: Subject) -> None:
    [(files, kind, version)] = reachable(subject.run(1, on_ranks.metadata_file))
    must(".metadata" in files, otherwise=f"the save left no file .metadata, only {files}", kind="no metadata file")
    must(kind == METADATA_CLASS, otherwise=f"the file .metadata holds a {kind}, not a {METADATA_CLASS}", kind="class")
    must(version == "1.0.0", otherwise=f"the metadata states version {version!r} instead of '1.0.0'", kind="version")


@pytest.mark.clauses("FMT-03")
def test_storage_entry_names_file_offset_and_length(subject: Subject) -> None:
    [entries] = reachable(subject.run(1, on_ranks.storage_entries))
    must(bool(entries), otherwise="the save left no file .metadata that lists storage entries", kind="no entries")
    for entry in entries:
        path, offset, length = entry["path"], entry["offset"], entry["length"]
        told = isinstance(path, str) and isinstance(offset, int) and isinstance(length, int)
        must(told, otherwise=f"the entry of {entry['key']!r} is {entry}: no path, offset and length", kind="fields")
        must(not path.startswith("/"), otherwise=f"the path of {entry['key']!r} is not relative: {path}", kind="path")
        inside = 0 <= offset < offset + length <= entry["size"]
        must(inside, otherwise=f"the range of {entry['key']!r} lies outside of its file: {entry}", kind="range")
        listed = entry["transforms"] == "left out" or bool(entry["transforms"])
        must(
            listed,
            otherwise=f"the entry of {entry['key']!r} lists no transforms: {entry['transforms']}",
            kind="transforms",
        )


@pytest.mark.clauses("FMT-04")
def test_byte_range_of_an_entry_is_a_torch_save_stream(subject: Subject) -> None:
    must_match(reachable(subject.run(1, on_ranks.entries_as_streams)), "what the byte ranges hold")


@pytest.mark.clauses("FMT-06")
@pytest.mark.parametrize("backwards", [False, True], ids=["in order", "backwards"])
def test_reader_minds_neither_order_nor_other_bytes(subject: Subject, backwards: bool) -> None:
    must_match(reachable(subject.run(1, on_ranks.load_among_other_bytes, backwards)))


@pytest.mark.clauses("FMT-07")
@pytest.mark.parametrize("reads", ["reads", "reads from the end"])
def test_view_of_a_range_reads_like_a_file(subject: Subject, reads: str) -> None:
    steps = READS if reads == "reads" else READS_FROM_THE_END
    [found] = reachable(subject.run(1, on_ranks.views_of_a_range, steps))
    for place, expected, observed in found:
        raise Broken(f"{place} of the file gave {observed}; a file of just that range gives {expected}", kind=reads)


@pytest.mark.clauses("FMT-09")
def test_unknown_version_is_refused_or_warned_about(subject: Subject) -> None:
    outcomes = subject.run(1, on_ranks.load_unknown_version)
    [(attempt, said)] = reachable(outcomes)
    said = [text for text in [*said, outcomes[0].output] if "version" in text.lower() or "99.0" in text]
    must(
        not attempt.ok or bool(said),
        otherwise="a checkpoint of version '99.0' was loaded without a word",
        kind="not refused",
    )
