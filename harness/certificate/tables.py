"""Tables of observations beside the verdicts: how far a promise goes, where one word would say too little.

A test reports rows under a title; rows of the same title from several cases and processes make one table. A table
never decides anything: what must hold is judged by a law.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from dcp_conformance.harness.laws.observations import Cell, Row, Table


def merged(tables: Iterable[Table]) -> tuple[tuple[Table, ...], tuple[str, ...]]:
    """Return one table for each title, in the order of titles; and a sentence for each whose columns differ, left out.

    Rows are put in the order of their cells and the same row stands once, so that neither the order of cases nor the
    number of workers shows.
    """
    found: dict[str, Table] = {}
    problems: list[str] = []
    for table in tables:
        known = found.setdefault(table.title, replace(table, rows=()))
        if known.columns != table.columns:
            problems.append(f"table {table.title!r}: reported once with columns {known.columns}, once {table.columns}.")
            continue
        found[table.title] = replace(known, rows=known.rows + table.rows)
    whole = [replace(table, rows=tuple(sorted(set(table.rows), key=_order))) for table in found.values()]
    return tuple(sorted(whole, key=lambda table: table.title)), tuple(dict.fromkeys(problems))


def table_lines(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]], *, most: int) -> Iterator[str]:
    """Yield a table as aligned lines, its first `most` rows.

    Numbers stand right. The caller cuts lines to its width.
    """
    shown = [list(map(str, columns)), *(list(map(str, row)) for row in rows[:most])]
    widths = [max(len(line[place]) for line in shown) for place in range(len(columns))]
    right = [bool(rows) and all(isinstance(row[place], int) for row in rows) for place in range(len(columns))]
    yield f"{title}:"
    for line in shown:
        cells = [
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, right, strict=True)
        ]
        yield "  " + "  ".join(cells).rstrip()
    if len(rows) > most:
        yield f"  and {len(rows) - most} more, see the certificate"


def _order(row: Row) -> tuple[tuple[bool, int, str], ...]:
    """Numbers by size, texts by letters; a number before a text."""
    return tuple((False, cell, "") if isinstance(cell, int) else (True, 0, cell) for cell in row)
