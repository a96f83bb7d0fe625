"""Settings that a writer or reader offers, and that nothing tries, are named."""

from __future__ import annotations

import functools
from typing import Any

from dcp_conformance.harness import control
from dcp_conformance.harness.backend.record import Backend
from dcp_conformance.harness.backend.resolve import describe, resolve


class _Writer(control.Writer):
    def __init__(
        self, checkpoint_id: Any, thread_count: int = 1, parts: int = 1, sync: bool = True, _hidden: int = 0
    ) -> None:
        super().__init__(checkpoint_id)


class _Reader(control.Reader):
    def __init__(self, checkpoint_id: Any, ahead: int = 1) -> None:
        super().__init__(checkpoint_id)


def notes_of(**fields: Any) -> tuple[str, ...]:
    parts = {"writer": _Writer, "reader": _Reader, "unsupported": control.UNSUPPORTED, **fields}
    return describe(Backend(name="any", **parts), "any").notes


def test_what_no_run_tries_is_named() -> None:
    writer, reader = notes_of()

    assert writer == "its writer also takes parts, sync: not exercised, so nothing is certified about these"
    assert reader == "its reader also takes ahead: not exercised, so nothing is certified about these"


def test_what_is_listed_or_bound_is_not_named() -> None:
    bound = functools.partial(_Writer, sync=False)
    [note] = notes_of(writer=bound, reader=control.Reader, option_sets=({}, {"parts": 2}))

    assert note == "its writer also takes thread_count: not exercised, so nothing is certified about these"
    assert not notes_of(writer=control.Writer, reader=control.Reader)


def test_torchs_own_choice_of_a_format_is_exercised() -> None:
    notes = describe(resolve("torch.distributed.checkpoint", {}, "."), "torch.distributed.checkpoint").notes

    assert any("per_thread_copy_ahead" in note for note in notes)
    assert not any("serialization_format" in note for note in notes)
