"""The texts that people read. They are compared with the files in golden/.

After a wanted change of the wording, `DCP_REWRITE_GOLDEN=1 python -m pytest tests/certificate/test_terminal.py` writes
them anew; read the difference before it is committed.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from dcp_conformance.harness.certificate.details import detail_lines
from dcp_conformance.harness.certificate.explained import explain_lines
from dcp_conformance.harness.certificate.junit import junit_xml
from dcp_conformance.harness.certificate.prose import command_lines, encodable, one_line, plain
from dcp_conformance.harness.certificate.terminal import failure_lines, summary_lines
from dcp_conformance.harness.verdicts.verdict import Finding
from tests.certificate.samples import (
    Description,
    certificate,
    clause,
    entries,
    eventful,
    known,
    outcome,
    run_events,
)

GOLDEN = Path(__file__).with_name("golden")


def compare(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("DCP_REWRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{path.name} differs: see the top of {Path(__file__).name}"


def lines_of(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def test_the_summary_of_an_eventful_run():
    compare("summary_eventful.txt", lines_of(summary_lines(eventful(), path="dcp-report/index.html")))


def test_the_details_of_an_eventful_run():
    compare("details_eventful.txt", lines_of(detail_lines(eventful(), 100)))


def test_the_summary_in_a_narrow_terminal():
    compare("summary_narrow.txt", lines_of(summary_lines(eventful(), 64, path="dcp-report/index.html")))


def test_the_summary_of_a_green_run():
    made = certificate([clause("FIN-01"), clause("FIN-02", "SHOULD")], [outcome("FIN-01"), outcome("FIN-02")])
    compare("summary_green.txt", lines_of(summary_lines(made, path="dcp-report/index.html")))


def test_the_summary_of_a_narrowed_run():
    events = run_events([outcome("FIN-01")], unfinished=("gw1",))
    made = certificate([clause("FIN-01")], (), events=events, partial=("-k or -m chose what to run",), asked=("core",))
    compare("summary_partial.txt", lines_of(summary_lines(made)))


def test_the_summary_of_known_failures_only():
    clauses = [clause("FIN-01"), clause("FIN-02", "SHOULD"), clause("FIN-03")]
    outcomes = [outcome("FIN-01", "fail"), outcome("FIN-02", "fail"), outcome("FIN-03")]
    listed = entries(known("FIN-01", "fin-01 case", defect="D-7"), known("FIN-02", reason="slow store"))
    made = certificate(clauses, outcomes, listed=listed, strict=True)
    assert made["run"]["exit_status"] == 0
    compare("summary_known.txt", lines_of(summary_lines(made)))


def test_the_junit_file():
    compare("junit.xml", junit_xml(eventful()))


WRONG = Finding(
    observed="element (2, 3) of layer.0.weight is 0.0, saved was 1.5.",
    kind="wrong-value",
    rank=1,
    evidence={"key": "layer.0.weight", "seed": "17", "traceback": "\n".join(f"line {number}" for number in range(20))},
    reproduce="dcp-conformance mypkg --clause FIN-01 --case 'fin-01 [2 ranks]' --backend-option endpoint=http://localhost:9000",
)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("failure_value.txt", outcome(verdict="fail", finding=WRONG, reason="The backend fails under both engines.")),
        ("failure_hang.txt", outcome(verdict="hang", finding=Finding(observed="no rank answered for 15 s."))),
        ("failure_bare.txt", outcome(verdict="fail", finding=None)),
        ("failure_harness.txt", outcome(verdict="harness-error", reason="KeyError: 'x'")),
    ],
)
def test_one_failure(name, shown):
    promise = (
        "A checkpoint is visible only after finish has returned on the coordinator, on every rank and at any time."
    )
    compare(name, lines_of(failure_lines(clause(promise=promise), shown)))


def test_an_explained_clause():
    explained = clause(
        "FIN-01", applies="SE", world=2, capabilities=("overwrite",), drop_in=True, source="storage.py:finish; #12345"
    )
    tests = ["fin-01 [2 ranks]", "fin-01 [4 ranks]"]
    compare("explain.txt", lines_of(explain_lines(explained, tests, ["commit_early"], eventful())))


@pytest.mark.parametrize(
    ("id", "last"),
    [
        ("FIN-01", "fail in 3 cases (mypkg, 2026-11-22T10:03:00+00:00)"),
        ("API-05", "fail (the engine's column) in 1 case (mypkg, 2026-11-22T10:03:00+00:00)"),
        ("EXT-01", "not-applicable: the backend does not offer extensions (mypkg, 2026-11-22T10:03:00+00:00)"),
        ("API-11", "excluded: an allowed freedom (mypkg, 2026-11-22T10:03:00+00:00)"),
        ("SEC-01", "its level was not run (mypkg, 2026-11-22T10:03:00+00:00)"),
    ],
)
def test_an_explained_clause_says_where_it_stood_last(id, last):
    assert f"  last       {last}" in explain_lines(clause(id), [], [], eventful(), 200)


def test_an_explained_clause_shows_every_failing_case_whole():
    said = "word " * 100
    made = certificate([clause(strength="SHOULD")], [outcome(verdict="fail", finding=Finding(observed=said))])
    text = " ".join(" ".join(explain_lines(clause(strength="SHOULD"), [], [], made, 60)).split())
    assert said.strip() in text


def test_an_excluded_clause_says_why_nothing_checks_it():
    lines = explain_lines(clause(excluded="no way to see it"), [], [], None)
    assert "  unchecked  no way to see it" in lines
    assert lines[-1] == "  last       no certificate yet"


def test_strict_advice_says_what_it_costs():
    made = certificate([clause(strength="SHOULD")], [outcome(verdict="fail")], strict=True)
    assert "Advice (with --strict they fail the run), 1 SHOULD broken: FIN-01" in summary_lines(made)
    assert "Advice, 1 SHOULD broken (with --strict they fail the run):" in detail_lines(made, 80)


def test_a_level_that_binds_nothing_says_so():
    made = certificate([clause(applies="U")], [])
    assert "  core          not run      no clause of it binds this backend here" in summary_lines(made)


def test_a_hang_is_shown_before_other_failures():
    outcomes = [outcome(verdict="fail", case="a"), outcome(verdict="hang", case="b")]
    made = certificate([clause()], outcomes)
    details = lines_of(detail_lines(made, 80))
    assert "FIN-01 (MUST, core, this contract's own demand), case b\n" in details
    assert "also in    a\n" in details
    assert "  1. hang: FIN-01 (MUST, core)" in summary_lines(made)


def test_nothing_is_wider_than_the_terminal_but_what_is_to_be_copied():
    for line in detail_lines(eventful(), 72):
        assert len(line) <= 72 or line.startswith("  reproduce"), line
    assert max(map(len, summary_lines(eventful(), 72))) <= 72


def test_a_run_in_which_everything_breaks_is_one_screen():
    ids = [f"FIN-{number:02}" for number in range(1, 60)]
    found = [
        outcome(
            name, "fail", finding=Finding(observed=f"{name} {'saw wrong values ' * 30}", kind=name, reproduce="again")
        )
        for name in ids
    ]
    for height, errors in ((24, 0), (40, 9), (60, 9)):
        made = certificate(map(clause, ids), found, errors=["an error of the run " * 20] * errors)
        lines = summary_lines(made, height=height, path="dcp-report/index.html")
        assert len(lines) <= height and max(map(len, lines)) <= 80
        assert lines[-1].startswith("Everything: ") and "Seen again by:" in lines


def test_the_line_that_reproduces_is_broken_for_a_shell():
    reproduce = shlex.join(["dcp-conformance", "mypkg", "--clause", "FIN-01", "--case", "a case [it's, 2 ranks]" * 3])
    lines = command_lines(reproduce, 60, first="  1. ")
    assert len(lines) > 1 and all(line.endswith(" \\") for line in lines[:-1])
    script = "\n".join(lines).replace("  1. dcp-conformance", "printf '%s\\n'")
    shown = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines() == shlex.split(reproduce)[1:]


def test_texts_cannot_steer_the_terminal():
    nasty = "\x1b[31mred\x1b[0m \x1b]0;title\x07 bell\x07 tab\there\r\nnext\u202e line"
    assert plain(nasty) == "red  bell? tab   here\nnext? line"
    item = outcome(
        verdict="fail", finding=Finding(observed=nasty, evidence={nasty: nasty}, reproduce=nasty), reason=nasty
    )
    made = certificate([clause()], [item], description=Description(name=nasty, notes=(nasty,)), errors=(nasty,))
    assert all(line.isprintable() for line in summary_lines(made))


def test_a_stream_that_cannot_encode_gets_escapes():
    assert encodable(["gr\u00fcn \u2713"], "ascii") == ["gr\\xfcn \\u2713"]
    assert encodable(["gr\u00fcn \u2713"], "latin-1") == ["gr\u00fcn \\u2713"]
    assert encodable(["gr\u00fcn \u2713"], "utf-8") == ["gr\u00fcn \u2713"]
    assert encodable(["\u2713"], None) == ["\\u2713"]


def test_our_own_words_are_ascii():
    assert lines_of(summary_lines(eventful(), path="p")).isascii()


def test_one_line_is_cut_at_the_width():
    assert one_line("short", 20) == "short"
    assert one_line("first\nsecond", 20) == "first ..."
    assert one_line("a much longer text than that", 12) == "a much l ..."
