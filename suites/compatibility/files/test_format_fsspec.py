"""Torch's files are the same through fsspec as in a local folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import must, must_match
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks
from dcp_conformance.suites.compatibility.files.reach import reachable

if TYPE_CHECKING:
    from dcp_conformance.suites.compatibility.files import on_ranks_format_fsspec as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.compatibility.files.on_ranks_format_fsspec")


@pytest.mark.clauses("FMT-14")
def test_files_through_fsspec_are_those_of_a_local_save(subject: Subject) -> None:
    [(local, remote, unlike)] = reachable(subject.run(1, on_ranks.local_and_in_memory))
    # A name may hold the id of its save, so that no two saves share names.
    alike = len(local) == len(remote) and (".metadata" in local) == (".metadata" in remote)
    must(alike, otherwise=f"a save through fsspec left the files {remote}, a local one {local}", kind="files")
    must_match([unlike])
