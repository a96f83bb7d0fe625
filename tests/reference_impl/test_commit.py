"""The commit: what a server may do to its one rename, and what a load sees of an overwrite that overtakes it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from dcp_conformance import reference_impl as ref
from dcp_conformance.reference_impl.files import local_files
from tests.reference_impl.ranks import outcome, run_ranks


def state(value: float) -> dict[str, Any]:
    return {"t": torch.full((4,), value), "o": value}


def loaded(folder: Path) -> dict[str, Any]:
    found = state(-1.0)
    ref.load(found, checkpoint_id=folder)
    return found


def test_rename_that_was_done_and_reported_as_failed_is_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref.save(state(1.0), checkpoint_id=tmp_path)
    real = os.replace

    def replace(source: str, target: str) -> None:
        real(source, target)
        raise FileNotFoundError(2, "the answer to the first request was lost, and the repeated one finds nothing")

    monkeypatch.setattr(local_files.os, "replace", replace)
    ref.save(state(2.0), checkpoint_id=tmp_path)
    assert loaded(tmp_path)["o"] == 2.0
    assert len(os.listdir(tmp_path)) == 2


def test_rename_that_failed_leaves_the_old_checkpoint_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref.save(state(1.0), checkpoint_id=tmp_path)
    before = sorted(os.listdir(tmp_path))

    def replace(source: str, target: str) -> None:
        raise OSError(5, "not done")

    monkeypatch.setattr(local_files.os, "replace", replace)
    assert "not done" in outcome(ref.save, state(2.0), checkpoint_id=tmp_path)["text"]
    assert sorted(os.listdir(tmp_path)) == before
    assert loaded(tmp_path)["o"] == 1.0


def test_load_that_is_overtaken_by_an_overwrite_gives_the_new_state(tmp_path: Path) -> None:
    ref.save(state(1.0), checkpoint_id=tmp_path)

    class Slow(ref.FileSystemReader):
        looks = 0

        def read_metadata(self, *args: Any, **kwargs: Any) -> ref.Metadata:
            self.looks += 1
            metadata = super().read_metadata(*args, **kwargs)
            if self.looks == 1:
                ref.save(state(2.0), checkpoint_id=tmp_path)
            return metadata

    found, reader = state(-1.0), Slow(tmp_path)
    ref.load(found, storage_reader=reader)
    assert reader.looks == 2
    assert found["o"] == 2.0
    assert found["t"].eq(2.0).all()


def _load_own_copy(rank: int, folder: str) -> tuple[dict[str, Any], list[float]]:
    found = {"t": torch.full((4,), -1.0)}
    result = outcome(ref.load, found, checkpoint_id=f"{folder}/{rank}")
    return result, found["t"].tolist()


def test_ranks_that_see_different_checkpoints_fail_before_a_value_is_written(tmp_path: Path) -> None:
    for rank in range(2):
        ref.save(state(float(rank)), checkpoint_id=tmp_path / str(rank), no_dist=True)
    for result, values in run_ranks(2, _load_own_copy, str(tmp_path)):
        assert "different checkpoints" in result["text"]
        assert values == [-1.0] * 4
