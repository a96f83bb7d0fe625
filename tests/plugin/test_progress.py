from __future__ import annotations

import io

from dcp_conformance.harness.run.progress import Progress


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def started(*, live=False, earlier=None, cases=("a", "b", "c", "d")):
    clock, stream = Clock(), io.StringIO()
    progress = Progress(stream, live=live, width=80, earlier=earlier or {}, clock=clock)
    progress.expect(cases)
    return progress, clock, stream


def test_a_log_gets_a_line_now_and_then():
    progress, clock, stream = started()
    progress.done("a", "core", {})
    assert stream.getvalue() == ""
    clock.now = 31
    progress.done("b", "core", {})
    progress.done("c", "core", {})
    assert stream.getvalue() == "core          2 of 4 cases; about 31 s left\n"


def test_a_terminal_has_one_line_that_goes_away():
    progress, clock, stream = started(live=True)
    for second, case in enumerate("abc", start=1):
        clock.now = second
        progress.done(case, "failure", {})
    assert stream.getvalue().count("\n") == 0 and stream.getvalue().count("\r\x1b[K") == 3
    progress.close()
    assert stream.getvalue().endswith("\r\x1b[K")


def test_the_time_that_is_left_comes_from_an_earlier_run():
    progress, clock, _ = started(earlier={"a": 1.0, "b": 1.0, "c": 58.0, "d": 100.0})
    clock.now = 4
    progress.done("a", "core", {})
    progress.done("b", "core", {})
    assert "about 5 min left" in progress.line("core")


def test_the_worst_finding_is_named_first():
    progress, _, _ = started()
    progress.done("a", "core", {"FIN-09": 6})
    progress.done("b", "core", {"TYPE-02": 0, "API-01": 3})
    assert progress.line("core").endswith("broken: TYPE-02, API-01, FIN-09")


def test_cases_that_two_workers_collected_count_once():
    progress, _, _ = started()
    progress.expect(("a", "b", "c", "d"))
    assert "0 of 4 cases" in progress.line("core")
