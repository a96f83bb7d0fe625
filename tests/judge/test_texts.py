"""No text of a backend is too long or too strange to be passed on."""

from __future__ import annotations

import json
import os

import pytest

from dcp_conformance.harness.laws.verbs import Broken
from dcp_conformance.harness.subject.subject import Subject
from dcp_conformance.harness.verdicts.texts import LONGEST, speakable
from tests.judge.played import OWNED, bench_judge, clause

STRANGE = {
    "a file name that is not UTF-8": os.fsdecode(b"shard-\xff\xfe"),
    "half of a pair": "\ud83d",
    "both halves": "\ud83d\ude00",
    "steers a terminal": "\x1b[2J\x1b]0;title\x07",
    "right to left": "\u202egnp.exe",
    "zeros": "\x00" * 10,
}


@pytest.mark.parametrize("text", STRANGE.values(), ids=STRANGE)
def test_strange_text_reaches_every_stream(text: str) -> None:
    def breaks(subject: Subject) -> None:
        raise Broken(f"it said {text}", kind="error", evidence={text: text})

    [outcome] = bench_judge().judge("a case", {clause(): OWNED}, breaks, below_storage=True)

    assert json.dumps(outcome.as_data(), ensure_ascii=False).encode("utf-8")
    assert outcome.finding is not None and outcome.finding.observed.startswith("it said ")


def test_a_text_of_100_megabytes_keeps_its_two_ends() -> None:
    said = speakable("first" + "x" * 100_000_000 + "last")
    assert said.startswith("first") and said.endswith("last")
    assert len(said) < LONGEST + 100 and "characters are left out" in said


def test_what_can_be_said_is_left_alone() -> None:
    assert speakable("un œuf, 卵, 🥚\n\ttab") == "un œuf, 卵, 🥚\n\ttab"
