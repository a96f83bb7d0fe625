from __future__ import annotations

import json
import os

import pytest

from dcp_conformance.harness.certificate.events import EventLog, read_events
from dcp_conformance.harness.certificate.sealed_lines import SealedLines
from dcp_conformance.harness.verdicts.verdict import Verdict
from tests.certificate.samples import outcome


def log(folder, *steps, worker="main", finish=True):
    """Write an event file: a step is ("collected", mapping), ("started", case) or ("outcome", outcome)."""
    with EventLog.for_worker(folder, worker) as events:
        events.run(torch="2.13.0", worker=worker)
        for kind, value in steps:
            getattr(events, kind)(value)
        if finish:
            events.finished(status=0, leftovers=[f"left by {worker}"])
    return events.path


def errors_of(events):
    return [item for item in events.outcomes if item.verdict is Verdict.HARNESS_ERROR]


COLLECTED = ("collected", {"case one": ["FIN-01", "FIN-02"], "case two": ["FIN-01"]})


def test_a_whole_run_is_read_back(tmp_path):
    one, two = outcome("FIN-01", case="case one"), outcome("FIN-02", "fail", case="case one")
    log(tmp_path, COLLECTED, ("started", "case one"), ("outcome", one), ("outcome", two))
    events = read_events(tmp_path)
    assert events.outcomes == (one, two)
    assert events.collected == {"case one": ("FIN-01", "FIN-02"), "case two": ("FIN-01",)}
    assert (events.facts["main"]["torch"], events.statuses, events.unfinished) == ("2.13.0", {"main": 0}, ())
    assert (events.leftovers, events.errors, events.notes) == (("left by main",), (), ())
    assert events.never_started == ("case two",)


def test_workers_are_merged_in_one_order(tmp_path):
    log(tmp_path, COLLECTED, ("started", "case two"), ("outcome", outcome(case="case two")), worker="gw1")
    both = [("outcome", outcome(id, case="case one")) for id in ("FIN-02", "FIN-01")]
    log(tmp_path, COLLECTED, ("started", "case one"), *both, worker="gw0")
    events = read_events(tmp_path)
    assert [(item.clause, item.case) for item in events.outcomes] == [
        ("FIN-01", "case one"),
        ("FIN-01", "case two"),
        ("FIN-02", "case one"),
    ]
    assert list(events.facts) == ["gw0", "gw1"]
    assert events.never_started == ()


def test_each_line_is_there_before_the_next_begins(tmp_path):
    events = EventLog.for_worker(tmp_path)
    events.started("case one")
    assert json.loads(events.path.read_text())["case"] == "case one"
    events.close()
    events.close()


def test_a_case_that_never_ended_is_a_harness_error_for_its_clauses(tmp_path):
    log(tmp_path, COLLECTED, ("started", "case one"), ("outcome", outcome(case="case one")), worker="gw3", finish=False)
    events = read_events(tmp_path)
    (lost,) = errors_of(events)
    assert (lost.clause, lost.case) == ("FIN-02", "case one")
    assert "started in worker gw3 and never ended" in lost.reason
    assert events.unfinished == ("gw3",)


@pytest.mark.parametrize(
    ("stray", "said"),
    [
        (outcome("FIN-01", case="case nine"), "The case was never collected, yet it reported pass"),
        (outcome("FIN-09", case="case two"), "The case was not collected for FIN-09, yet it reported pass"),
    ],
)
def test_an_outcome_that_was_never_collected_is_a_harness_error(tmp_path, stray, said):
    log(tmp_path, COLLECTED, ("outcome", stray))
    (error,) = errors_of(read_events(tmp_path))
    assert (error.clause, error.case) == (stray.clause, stray.case)
    assert error.reason.startswith(said)


def test_a_case_started_but_not_collected_is_an_error(tmp_path):
    log(tmp_path, ("started", "case nine"))
    assert read_events(tmp_path).errors == ("case case nine: started by main, but never collected.",)


def test_workers_must_agree_about_cases(tmp_path):
    log(tmp_path, ("collected", {"case one": ["FIN-01"]}), worker="gw0")
    log(tmp_path, ("collected", {"case one": ["FIN-02"]}), worker="gw1")
    assert "workers disagree" in read_events(tmp_path).errors[0]


def test_a_torn_last_line_is_tolerated_at_every_length(tmp_path):
    path = log(tmp_path, COLLECTED, ("started", "case two"), ("outcome", outcome(case="case two")), finish=False)
    whole = path.read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    for end in range(start + 1, len(whole) - 1):
        path.write_bytes(whole[:end])
        events = read_events(tmp_path)
        assert events.errors == ()
        assert events.notes == ("events-main.jsonl: the last line is torn; its process was stopped while writing.",)
        assert [item.case for item in errors_of(events)] == ["case two"]


@pytest.mark.parametrize("line", ["{torn", "[]", "3", '{"kind": "else"}', '{"kind": "outcome", "seal": "0"}'])
def test_a_line_of_somebody_else_counts_for_nothing_and_is_told(tmp_path, line):
    path = log(tmp_path, COLLECTED, ("started", "case two"), ("outcome", outcome("FIN-01", case="case two")))
    first, rest = path.read_text().split("\n", 1)
    path.write_text(f"{first}\n{line}\n{rest}")
    events = read_events(tmp_path)
    assert events.errors == events.foreign == ("events-main.jsonl, line 2: not written by the judge of this run.",)
    assert len(events.outcomes) == 1 and events.statuses == {"main": 0}


def test_an_unknown_event_is_an_error(tmp_path):
    with SealedLines(tmp_path / "events-main.jsonl", b"") as lines:
        lines.append({"kind": "else"})
    (error,) = read_events(tmp_path).errors
    assert error.startswith("events-main.jsonl, line 1: not an event of this harness")


def test_whoever_has_no_key_cannot_write_a_line(tmp_path):
    with EventLog.for_worker(tmp_path, key=b"judge") as events:
        events.collected({"case one": ["FIN-01"]})
        last = events.last
    with SealedLines(events.path, b"guessed") as forged:
        forged.append({"kind": "outcome", "outcome": outcome("FIN-01", case="case one").as_data()})
    read = read_events(tmp_path, key=b"judge", last={"main": last})
    assert read.outcomes == () and "line 2: not written by" in read.foreign[0]


@pytest.mark.parametrize("spoil", ["cut", "swap", "repeat", "remove", "pipe", "link", "stranger"])
def test_what_is_done_to_the_files_is_told(tmp_path, spoil):
    with EventLog.for_worker(tmp_path) as events:
        for case in ("case one", "case two"):
            events.started(case)
    lines = events.path.read_bytes().splitlines(keepends=True)
    if spoil in ("remove", "pipe", "link"):
        events.path.unlink()
    if spoil == "pipe":
        os.mkfifo(events.path)
    elif spoil == "link":
        events.path.symlink_to("/dev/zero")
    elif spoil == "stranger":
        (tmp_path / "notes").touch()
    elif spoil != "remove":
        kept = {"cut": lines[:1], "swap": lines[::-1], "repeat": [*lines, lines[1]]}[spoil]
        events.path.write_bytes(b"".join(kept))
    assert read_events(tmp_path, last={"main": events.last}).foreign


def test_no_files_give_an_empty_run(tmp_path):
    events = read_events(tmp_path / "nowhere")
    assert (events.outcomes, events.unfinished, dict(events.collected)) == ((), (), {})


def test_undecodable_names_do_not_stop_the_log(tmp_path):
    strange = outcome(case="case two", reason="cannot open \udcff.bin")
    log(tmp_path, COLLECTED, ("started", "case two"), ("outcome", strange))
    assert read_events(tmp_path).outcomes == (strange,)
