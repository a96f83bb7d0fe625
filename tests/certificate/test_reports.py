"""What is made from a certificate beside the terminal's summary: page, Markdown, badge, and what changed since."""

from __future__ import annotations

import copy
import json
import re
import time
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from dcp_conformance.harness.certificate import files
from dcp_conformance.harness.certificate.badge import badge_json, badge_svg
from dcp_conformance.harness.certificate.compared import compared, comparison_lines
from dcp_conformance.harness.certificate.markdown import MOST_LINES, markdown
from dcp_conformance.harness.certificate.page import page
from dcp_conformance.harness.certificate.pictures import pictures
from dcp_conformance.harness.certificate.reports import REPORTS
from dcp_conformance.harness.commands.known import known_file
from dcp_conformance.harness.errors import UsageError
from dcp_conformance.harness.laws.observations import Table
from dcp_conformance.harness.verdicts.known_failures import load
from dcp_conformance.harness.verdicts.verdict import Finding
from tests.certificate.samples import Description, certificate, clause, eventful, outcome, run_events
from tests.certificate.test_terminal import compare

HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\"'>{{ 7*7 }}{% raw %}"
    "\x1b[31mred\u202egnp.exe</style></details></pre>`@someone` [link](javascript:alert(1)) | cell"
)


def lettered(name):
    """A name whose numbers are letters, so that two of them are told apart as words are."""
    return name.translate(str.maketrans("0123456789", "abcdefghij"))


def hostile():
    finding = Finding(observed=HOSTILE, kind=HOSTILE, evidence={HOSTILE: HOSTILE}, reproduce=HOSTILE)
    found = [outcome("FIN-01", "fail", case=HOSTILE, finding=finding, reason=HOSTILE, notes=(HOSTILE,))]
    events = run_events(found, tables=(Table(title=HOSTILE, columns=("a", "b"), rows=((HOSTILE, 1),)),))
    described = Description(name=HOSTILE, version=HOSTILE, unsupported={"x": HOSTILE}, notes=(HOSTILE,))
    return certificate([clause()], found, events=events, description=described, errors=(HOSTILE,), command=HOSTILE)


class Elements(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen, self.attributes = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += [name for name, _ in attrs]


def test_the_page_is_the_same_for_the_same_certificate():
    compare("page_eventful.html", page(eventful()))
    assert page(eventful()) == page(json.loads(json.dumps(eventful())))


def test_the_text_of_a_backend_is_inert_on_the_page():
    elements = Elements()
    text = page(hostile())
    elements.feed(text)
    assert elements.seen.count("script") == 1 and "img" not in elements.seen
    assert not [name for name in elements.attributes if name.startswith("on")]
    assert "49" not in re.findall(r"\{\{ 7\*7 \}\}|49", text) and "\x1b" not in text and "\u202e" not in text


def test_the_page_needs_nothing_from_outside():
    text = page(eventful())
    assert not re.search(r"(?:src|href)=\"(?!#|certificate\.json)", text)
    assert "default-src 'none'" in text


def test_a_thousand_findings_are_rendered_in_a_second_and_stay_light():
    ids = [f"FIN-{number:03}" for number in range(250)]
    trace = {"traceback": "line\n" * 4_000}
    findings = {name: Finding(observed=lettered(name) + " said" * 200, kind=name, evidence=trace) for name in ids}
    found = [
        outcome(name, "fail", case=f"{name} case[{case}]", finding=findings[name]) for name in ids for case in range(4)
    ]
    made = certificate(map(clause, ids), found)
    began = time.monotonic()
    text = page(made)
    assert time.monotonic() - began < 2.0  # 0.2 s alone; the machine may be shared
    assert len(text) < 1_500_000 and text.count('<article class="finding"') == 250


def test_pictures_show_where_ranks_failed_and_what_came_out():
    clauses = [clause("FAIL-01", level="failure")]
    found = [
        outcome("FAIL-01", "fail", case="failing_rank[write_data-1]"),
        outcome("FAIL-01", case="failing_rank[write_data-0]"),
        outcome("FAIL-01", case="failing_rank[read_data-1and3]"),
    ]
    table = Table(
        title="States", columns=("model", "OLD", "NEW", "SILENT"), rows=(("kill", 1, 998, 1), ("none", 0, 0, 0))
    )
    grid, states = pictures(certificate(clauses, found, events=run_events(found, tables=(table,)), levels=("failure",)))
    assert grid.columns == ("phase", "rank 0", "rank 1", "rank 1 and 3")
    assert {row.cells[0].text: [cell.text for cell in row.cells[1:]] for row in grid.rows} == {
        "read data": ["-", "-", "pass"],
        "write data": ["pass", "fail", "-"],
    }
    assert states.rows[0].reading == "1 OLD, 998 NEW, 1 SILENT" and not states.rows[1].bar
    assert min(part.length for part in states.rows[0].bar) >= 10 and sum(p.length for p in states.rows[0].bar) <= 1000


def test_the_summary_for_a_run_page():
    compare("summary.md", markdown(eventful()))


def test_the_summary_for_a_run_page_has_at_most_sixty_lines_and_no_markup_of_a_backend():
    ids = [f"FIN-{number:03}" for number in range(200)]
    found = [
        outcome(name, "fail", finding=Finding(observed=HOSTILE + name, kind=name, reproduce=HOSTILE)) for name in ids
    ]
    text = markdown(certificate(map(clause, ids), found, errors=[HOSTILE] * 50, partial=(HOSTILE,)))
    assert len(text.splitlines()) <= MOST_LINES
    text = re.sub(r"`[^`]*`", "", text)  # code is shown as it is
    assert "<script" not in text and "<img" not in text and " @someone" not in text


@pytest.mark.parametrize(
    ("made", "said", "colour"),
    [
        (certificate([clause()], [outcome()]), "1 levels held", "success"),
        (certificate([clause()], [outcome(verdict="fail")]), "0 of 1 levels, lost: core", "critical"),
        (certificate([clause()], [outcome(verdict="untestable")]), "0 of 1 levels", "inactive"),
        (certificate([clause()], [outcome()], partial=("-k",)), "partial run", "inactive"),
    ],
)
def test_the_badge_says_what_the_levels_say(made, said, colour):
    data = json.loads(badge_json(made))
    assert (data["message"], data["color"], data["schemaVersion"]) == (said, colour, 1)
    image = ElementTree.fromstring(badge_svg(made))
    assert image.get("aria-label") == f"DCP conformance: {said}"


def test_every_report_is_known_again_and_may_be_replaced(tmp_path):
    for name, made in REPORTS.items():
        files.write_text(made(hostile()), tmp_path / name)
        files.write_text(made(eventful()), tmp_path / name)
        (tmp_path / name).write_text("mine")
        with pytest.raises(UsageError):
            files.check_target(tmp_path / name)


def test_what_was_lost_between_two_runs_comes_first():
    clauses = [clause(f"FIN-0{number}") for number in range(1, 5)]
    old = certificate(clauses[:3], [outcome("FIN-01"), outcome("FIN-02", "fail"), outcome("FIN-03")])
    new = certificate(clauses[:2] + clauses[3:], [outcome("FIN-01", "hang"), outcome("FIN-02"), outcome("FIN-04")])
    found = compared(old, new)
    assert [[item.clause for item in group] for group in (found.lost, found.won, found.new, found.gone)] == [
        ["FIN-01"], ["FIN-02"], ["FIN-04"], ["FIN-03"],
    ]  # fmt: skip
    assert comparison_lines(found)[:2] == ["1 lost: FIN-01 (pass, now hang)", "1 won: FIN-02 (fail, now pass)"]
    assert comparison_lines(compared(old, copy.deepcopy(old)))[0] == "Every clause stands as before."


def test_a_renamed_clause_is_neither_new_nor_gone():
    old = certificate([clause("OLD-01")], [outcome("OLD-01")])
    new = certificate([clause("FIN-01")], [outcome("FIN-01")])
    assert compared(old, new, {"OLD-01": ("FIN-01",)}).changes == ()


def test_a_written_known_failures_file_covers_what_failed(tmp_path):
    clauses = [clause("FIN-01"), clause("FIN-02"), clause("FIN-03", "SHOULD")]
    found = [
        outcome("FIN-01", "fail"), outcome("FIN-02", "fail", case='a[it\'s "x"]'), outcome("FIN-02", case="b"),
        outcome("FIN-03", "fail"),
    ]  # fmt: skip
    (tmp_path / "known.toml").write_text(known_file(certificate(clauses, found)))
    entries = load(tmp_path / "known.toml").entries
    assert {(entry.clause, entry.case) for entry in entries} == {
        ("FIN-01", None), ("FIN-02", 'a[it\'s "x"]'), ("FIN-03", None),
    }  # fmt: skip
    covered = load(tmp_path / "known.toml")
    assert certificate(clauses, found, listed=covered)["run"]["exit_status"] == 0
