"""Every hostile backend: its run ends in time, with a certificate, and holds nothing that it did not keep."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.hostile.registry import ENDINGS, HOSTILE, Hostile
from tests.plugin.command import Ended, certify

HERE = Path(__file__).parent


@pytest.mark.parametrize("hostile", HOSTILE, ids=[hostile.module for hostile in HOSTILE])
def test_hostile_backend_gains_nothing(hostile: Hostile, tmp_path: Path) -> None:
    began = time.monotonic()
    chosen = [word for clause in hostile.clauses for word in ("--clause", clause)]
    ended = certify(tmp_path, str(HERE / f"{hostile.module}.py"), *chosen, *hostile.options)
    assert "INTERNALERROR" not in ended.text and "Traceback (most recent call last)" not in ended.text, ended.text
    assert hostile.says in ended.text, ended.text
    if hostile.ending == "refused":
        assert ended.code == 4, ended.text
    else:
        # A run that is narrowed to clauses holds no level, so that undecided ones do not make it fail.
        assert ended.code == (1 if hostile.ending == "lost" else 0), ended.text
        _holds_nothing(ended, hostile)
    assert time.monotonic() - began < hostile.limit, ended.text


def _holds_nothing(ended: Ended, hostile: Hostile) -> None:
    verdicts = {clause: ended.clause(clause)["verdict"] for clause in hostile.clauses}
    assert not {"pass", "kept", "harness-error"} & set(verdicts.values()), (verdicts, ended.text)
    if hostile.ending == "lost":
        assert {"fail", "hang"} & set(verdicts.values()), (verdicts, ended.text)


def test_registry_and_folder_agree() -> None:
    modules = {path.stem for path in HERE.glob("[a-z]*_*.py")} - {"test_hostile"}
    assert modules == {hostile.module for hostile in HOSTILE}
    assert {hostile.ending for hostile in HOSTILE} <= set(ENDINGS)
