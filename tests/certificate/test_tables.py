"""Tables of several cases and workers become one, and say the same whatever the order."""

from __future__ import annotations

import itertools

import pytest

from dcp_conformance.harness.certificate.details import detail_lines
from dcp_conformance.harness.certificate.events import EventLog, read_events
from dcp_conformance.harness.certificate.sealed_lines import SealedLines
from dcp_conformance.harness.certificate.tables import merged, table_lines
from dcp_conformance.harness.laws.observations import Table
from tests.certificate.samples import certificate, clause, outcome, run_events


def table(*rows, title="Damage", columns=("object", "loads")):
    return Table(title=title, columns=columns, rows=rows)


def test_rows_of_one_title_become_one_table_in_any_order():
    parts = [table(("tail", 2), ("head", 10)), table(("head", 9)), table(("tail", 2)), table(("x", 1), title="A")]
    results = {merged(order) for order in itertools.permutations(parts)}
    assert results == {((table(("x", 1), title="A"), table(("head", 9), ("head", 10), ("tail", 2))), ())}


def test_other_columns_under_one_title_are_told():
    found, problems = merged([table(("tail", 2)), table((2,), columns=("loads",))])
    assert (found, len(problems)) == ((table(("tail", 2)),), 1)
    assert problems[0].startswith("table 'Damage': reported once with columns")


@pytest.mark.parametrize("row", [("tail",), ("tail", 1, 2), ("tail", 1.5), ("tail", True), ("tail", None)])
def test_a_row_must_fit(row):
    with pytest.raises(ValueError, match="table 'Damage'"):
        table(row)


def test_tables_go_through_event_files(tmp_path):
    for worker, row in (("gw1", ("tail", 2)), ("gw0", ("head", 1))):
        with EventLog.for_worker(tmp_path, worker) as log:
            log.table(table(row))
            log.finished(status=0)
    assert read_events(tmp_path).tables == (table(("head", 1), ("tail", 2)),)


def test_a_table_that_does_not_fit_is_an_error_of_the_run(tmp_path):
    with SealedLines(tmp_path / "events-main.jsonl", b"") as lines:
        lines.append({"kind": "table", "table": {"title": "T", "columns": ["a"], "rows": [[1, 2]]}})
    assert "line 1: not an event of this harness" in read_events(tmp_path).errors[0]


def test_cells_are_redacted_and_the_terminal_shows_the_first_rows():
    rows = [(f"s3://me:secret@host/{number:02}", number) for number in range(40)]
    made = certificate([clause()], (), events=run_events([outcome()], tables=(table(*rows),)))
    assert "secret" not in str(made["tables"])
    lines = detail_lines(made, 100)
    assert "  and 8 more, see the certificate" in lines


def test_columns_are_aligned_and_numbers_stand_right():
    lines = list(table_lines("Damage", ("object", "loads"), (("tail", 2), ("head", 10)), most=9))
    assert lines == ["Damage:", "  object  loads", "  tail        2", "  head       10"]
