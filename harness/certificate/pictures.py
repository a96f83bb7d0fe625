"""What looking shows faster than reading: grids of cells with a tone, and tables with a bar for each row.

Pure functions from a certificate. A tone is never the only bearer of a meaning: each cell and bar has its word too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dcp_conformance.harness.verdicts.verdict import Verdict

Tone = Literal["good", "fair", "poor", "bad", "none"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell: its text, how good or bad it is, and a longer text for who points at it."""

    text: str
    tone: Tone = "none"
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One piece of a bar, in parts of a thousand from its left end."""

    start: int
    length: int
    tone: Tone
    word: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a picture; `bar` is empty where the picture has no bars."""

    cells: tuple[Cell, ...]
    bar: tuple[Part, ...] = ()

    @property
    def reading(self) -> str:
        """The bar in words."""
        return ", ".join(part.word for part in self.bar)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A table to look at. The first column names the row."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def bars(self) -> bool:
        """Whether its rows have bars."""
        return any(row.bar for row in self.rows)


# Columns that count how often something came out, from the best outcome to the worst.
_OUTCOMES: Mapping[str, Tone] = {
    "NEW": "good",
    "new": "good",
    "OLD": "fair",
    "old": "fair",
    "ERROR": "poor",
    "error": "poor",
    "HANG": "bad",
    "SILENT": "bad",
    "silent": "bad",
}
_WORDS: Mapping[str, Tone] = {
    "right": "good",
    "named": "good",
    "loads": "good",
    "the new version": "good",
    "the old version": "fair",
    "typed": "fair",
    "refuses": "poor",
    "opaque": "poor",
    "an error": "poor",
    "not the lost rank": "poor",
    "SILENT": "bad",
    "wrong": "bad",
    "hangs": "bad",
    "died": "bad",
}
_INJECTED = re.compile(
    r"(?P<test>\w+)\[(?P<phase>(?:\w+-)?[a-z_]+)-(?:rank)?(?P<rank>\d+(?:and\d+)*)(?:-(?P<how>\w+))?\]"
)
_FAILURE_LEVELS = ("failure", "durability", "asynchronous")
_TONES: Mapping[Verdict, Tone] = {
    Verdict.PASS: "good",
    Verdict.NOT_APPLICABLE: "none",
    Verdict.UNTESTABLE: "none",
    Verdict.FAIL: "bad",
    Verdict.HANG: "bad",
    Verdict.HARNESS_ERROR: "poor",
}


def pictures(certificate: Mapping[str, Any]) -> tuple[Picture, ...]:
    """Make every picture of a certificate: injected failures, then its tables of observations."""
    return (*_injected(certificate), *(_table(table) for table in certificate["tables"]))


def _injected(certificate: Mapping[str, Any]) -> Iterator[Picture]:
    """Yield one grid for each test that makes ranks fail in phases: phase by rank, the worst verdict of its clauses."""
    found: dict[str, dict[tuple[str, str], Verdict]] = {}
    for entry in (*certificate["clauses"], *certificate["engine_column"]):
        if entry["level"] in _FAILURE_LEVELS:
            for case in entry["cases"]:
                match = _INJECTED.fullmatch(case["case"])
                if match:
                    how = f", {match['how']}" if match["how"] else ""
                    place = (match["phase"].replace("_", " ") + how, match["rank"])
                    verdicts = found.setdefault(match["test"], {})
                    verdicts[place] = Verdict.merge([Verdict.of(case["verdict"]), verdicts.get(place, Verdict.PASS)])
    for test, verdicts in sorted(found.items()):
        yield _grid(f"Phase and rank: {test.replace('_', ' ')}", verdicts)


def _grid(title: str, verdicts: Mapping[tuple[str, str], Verdict]) -> Picture:
    ranks = sorted({rank for _, rank in verdicts}, key=lambda rank: (len(rank), rank))
    phases = dict.fromkeys(phase for phase, _ in verdicts)
    rows = [
        Row(cells=(Cell(text=phase), *(_verdict_cell(verdicts.get((phase, rank))) for rank in ranks)))
        for phase in phases
    ]
    columns = ("phase", *(f"rank {rank}".replace("and", " and ") for rank in ranks))
    return Picture(title=title, columns=columns, rows=tuple(rows))


def _verdict_cell(verdict: Verdict | None) -> Cell:
    return Cell(text="-") if verdict is None else Cell(text=verdict.word, tone=_TONES[verdict])


def _table(table: Mapping[str, Any]) -> Picture:
    columns = list(table["columns"])
    counted = [place for place, name in enumerate(columns) if name in _OUTCOMES]
    return Picture(
        title=table["title"],
        columns=tuple(columns),
        rows=tuple(_row(row, columns, counted) for row in table["rows"]),
    )


def _row(row: Sequence[str | int], columns: Sequence[str], counted: Sequence[int]) -> Row:
    cells = tuple(
        Cell(text=str(value), tone=_counted_tone(columns[place], value) if place in counted else _tone_of(value))
        for place, value in enumerate(row)
    )
    counts = [(columns[place], row[place]) for place in counted if isinstance(row[place], int)]
    return Row(cells=cells, bar=_bar([(name, int(number)) for name, number in counts]))


def _bar(counts: Sequence[tuple[str, int]]) -> tuple[Part, ...]:
    """Return the parts of a bar; every outcome that was seen is wide enough to be seen."""
    seen = [(name, number) for name, number in counts if number > 0]
    total = sum(number for _, number in seen)
    widths = [max(12, number * 1000 // total) for _, number in seen]
    scale = max(1000, sum(widths))
    parts, start = [], 0
    for (name, number), width in zip(seen, widths, strict=True):
        length = width * 1000 // scale
        parts.append(Part(start=start, length=length, tone=_OUTCOMES[name], word=f"{number} {name}"))
        start += length
    return tuple(parts)


def _counted_tone(column: str, value: str | int) -> Tone:
    return _OUTCOMES[column] if value else "none"


def _tone_of(value: str | int) -> Tone:
    """Return the tone of a cell by its leading words; a number that is no outcome has none."""
    text = str(value)
    return next((tone for words, tone in _WORDS.items() if re.match(rf"{words}\b", text)), "none")
