"""Torch's files are the same through fsspec as in a local folder."""

from __future__ import annotations

import pytest

from dcp_conformance.harness.laws.verbs import holds, same
from dcp_conformance.harness.subject.subject import Subject, scenarios
from dcp_conformance.suites.compatibility.files.reach import reachable

on_ranks = scenarios("dcp_conformance.suites.compatibility.files.on_ranks_format_fsspec")


@pytest.mark.clauses("FMT-14")
def test_files_through_fsspec_are_those_of_a_local_save(subject: Subject) -> None:
    [(local, remote, unlike)] = reachable(subject.run(1, on_ranks.local_and_in_memory))
    # A name may hold the id of its save, so that no two saves share names.
    alike = len(local) == len(remote) and (".metadata" in local) == (".metadata" in remote)
    holds(alike, f"a save through fsspec left the files {remote}, a local one {local}", kind="files")
    same([unlike])
