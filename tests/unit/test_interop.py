"""Whom the promises about old checkpoints speak of, and what the table says of a load."""

from __future__ import annotations

from typing import Any

import pytest

from dcp_conformance.harness.cluster import ExceptionRecord
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.laws.verbs import Broken, HarnessFault
from dcp_conformance.suites.compatibility.files import interop
from dcp_conformance.suites.compatibility.files.interop import Loaded

HERE: dict[str, Any] = {"torch": "2.13.0+cpu", "python": [3, 11], "offers": []}
DIFFERENCE = Difference("a", (0,), "1.0", "2.0")


def error(*, of_subject: bool = True) -> ExceptionRecord:
    frames = (("/x/harness/subject/session.py", 1, "into_subject"),) if of_subject else ()
    return ExceptionRecord(
        type_name="ValueError", mro=("builtins.ValueError",), text="no", traceback="", frames=frames,
        failures=None, cause=None, picklable=True,
    )  # fmt: skip


def loaded(
    what: str = "'a'", *, rank: int = 0, raised: ExceptionRecord | None = None, unlike: tuple[Difference, ...] = ()
) -> Loaded:
    return Loaded(what, rank, Attempt(raised, 0.1), unlike)


@pytest.mark.parametrize(
    ("release", "words"),
    [
        ("1.13.1", "older than torch 2.1"), ("2.0.1", "older than torch 2.1"), ("2.14.1", "newer than the torch"),
        ("2.6.0-python3.13", "Python 3.13"),
    ],
)  # fmt: skip
def test_releases_beyond_the_promise(release: str, words: str) -> None:
    assert words in interop.beyond(release, HERE)


@pytest.mark.parametrize("release", ["2.1.2", "2.9.1", "2.10.0", "2.13.0", "2.13.5", "2.6.0-python3.11"])
def test_releases_that_the_promise_speaks_of(release: str) -> None:
    assert interop.beyond(release, HERE) == ""


def test_the_promise_grows_with_torch_and_python() -> None:
    later = {**HERE, "torch": "2.15.0", "python": [3, 13]}

    assert [interop.beyond(release, later) for release in ("2.15.0", "2.6.0-python3.13")] == ["", ""]


def test_cells_count_the_worst_rank() -> None:
    found = [
        loaded("'a'"), loaded("'a'", rank=1, unlike=(DIFFERENCE,)), loaded("'b'"), loaded("'b'", rank=1),
        loaded("'c'", raised=error()), loaded("'c'", rank=1),
    ]  # fmt: skip

    assert interop.cell(found) == "WRONG 1, refuses 1, loads 1"
    assert interop.cell([]) == "not asked"
    assert interop.cell([loaded()], left_out=2) == "loads 1, not asked 2"


def test_a_refusal_is_no_wrong_value() -> None:
    interop.never_wrong([loaded(raised=error()), loaded()])


def test_wrong_values_are_broken_and_named() -> None:
    with pytest.raises(Broken, match="it loaded 'a' without a word, and 'a'.0. is 2.0 instead of 1.0"):
        interop.never_wrong([loaded(rank=1, unlike=(DIFFERENCE,))])


def test_a_refusal_is_no_load() -> None:
    with pytest.raises(Broken, match="it did not load 'a': ValueError: no"):
        interop.loads([loaded(), loaded(raised=error())])


def test_an_error_of_the_scenario_is_no_refusal() -> None:
    with pytest.raises(HarnessFault):
        interop.never_wrong([loaded(raised=error(of_subject=False))])


def test_compressed_ones_may_be_refused_by_storage_without_transforms() -> None:
    found = [loaded("'compressed' of torch 2.9.1"), loaded("'files' of torch 2.9.1")]

    assert [one.what[:7] for one in interop.tolerated(found, HERE)] == ["'files'"]
    assert len(list(interop.tolerated(found, {**HERE, "offers": ["extensions"]}))) == 2
