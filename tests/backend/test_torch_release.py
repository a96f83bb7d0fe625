"""A torch that is too old, or none, is a sentence and no traceback."""

from __future__ import annotations

import importlib.metadata

import pytest

from dcp_conformance.harness.backend.torch_release import check_torch
from dcp_conformance.harness.errors import UsageError


@pytest.mark.parametrize("release", ["1.13.1", "2.8.0+cu128", "2.0.0a0"])
def test_an_old_torch_is_refused_by_a_sentence(monkeypatch: pytest.MonkeyPatch, release: str) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: release)
    with pytest.raises(UsageError, match=r"needs torch 2\.9 or newer, and here is"):
        check_torch()


@pytest.mark.parametrize("release", ["2.9.0", "2.13.0+cpu", "2.15.0", "3.0.0.dev20261201"])
def test_newer_ones_are_not(monkeypatch: pytest.MonkeyPatch, release: str) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: release)
    check_torch()


def test_no_torch_is_refused_by_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(UsageError, match="torch is not installed"):
        check_torch()
