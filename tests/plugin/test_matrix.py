"""A quick sample of the kill matrix; `make mutants` runs all of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.plugin.command import ROOT

# One of each area that is quick to kill.
MUTANTS = (
    "keeps_to_the_constructor", "says_only_not_found", "drops_errors_of_uploads", "takes_missing_objects_for_zeros",
    "replaces_older_commits_only", "unwraps_failures_of_a_single_process", "states_no_version", "writes_no_index",
    "gives_all_to_the_lowest_rank", "wraps_groups_with_local_ranks", "rebuilds_mappings", "describes_scalars_as_bytes",
    "turns_rare_types_into_common_ones", "ignores_missing_keys", "raises_bare_errors", "splits_reads",
    "restores_to_the_first_device", "leaves_its_stream_current", "stages_by_reference", "pins_and_never_frees",
)  # fmt: skip
CLAUSES = "TYPE-01,TYPE-05,FIN-01,FIN-02,FIN-12,RES-01,RMD-01,CORR-01,DUR-01,META-02,WRITE-01,PG-01"


def matrix(*words: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "tests.mutants.matrix", *words]
    done = subprocess.run(command, cwd=ROOT, timeout=300, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.timeout(320)
def test_sample_of_mutants_is_killed() -> None:
    code, text = matrix(*MUTANTS)
    assert code == 0 and f"{len(MUTANTS)} backends, 0 problems" in text, text
    assert text.count("killed    ") == len(MUTANTS), text


@pytest.mark.timeout(320)
def test_sample_of_clauses_finds_nothing_in_variants() -> None:
    code, text = matrix("--variants", "--clauses", CLAUSES)
    assert code == 0 and "backends, 0 problems" in text, text


def test_matrix_of_nothing_is_not_green() -> None:
    code, text = matrix("describes_scalars_as_bytes", "--variants")
    assert code == 1 and "0 backends" in text, text
