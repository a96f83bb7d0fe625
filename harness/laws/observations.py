"""What is observed, as plain data that ranks and the judge share: how a call ended, what differs, rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dcp_conformance.harness.cluster import ExceptionRecord

Cell = str | int
Row = tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of texts and whole numbers, one cell for each column. The title is its identity within a run."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.title!r}: a row of {len(row)} cells under {len(self.columns)} columns")
            for cell in row:
                if not isinstance(cell, str | int) or isinstance(cell, bool):
                    raise ValueError(f"table {self.title!r}: a cell must be a text or a whole number, is {cell!r}")

    def as_data(self) -> dict[str, Any]:
        """Return the table as JSON data."""
        return {"title": self.title, "columns": list(self.columns), "rows": [list(row) for row in self.rows]}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Table:
        """Return the reverse of `as_data`. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            title=str(data["title"]),
            columns=tuple(map(str, data["columns"])),
            rows=tuple(tuple(row) for row in data["rows"]),
        )


@dataclass(frozen=True)
class Attempt:
    """How one call ended, as data, for scenarios that go on after a failure; seconds is its duration."""

    error: ExceptionRecord | None
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether the call returned."""
        return self.error is None


@dataclass(frozen=True)
class Difference:
    """One way in which a value is not the promised one: where it is, what was promised and what was found."""

    #: Path in the state, joined by dots.
    key: str
    #: Position in the tensor, or () for a whole value.
    index: tuple[int, ...]
    expected: str
    observed: str
    #: What the value as a whole is instead ("is zero in every element"), where that is known.
    cause: str = ""

    def sentence(self) -> str:
        """Return the difference as half a sentence, its cause first: `'a.b'[3] is 2.0 instead of 1.0`."""
        cause = f"{self.key!r} {self.cause}: " if self.cause else ""
        place = f"[{', '.join(map(str, self.index))}]" if self.index else ""
        return f"{cause}{self.key!r}{place} is {self.observed} instead of {self.expected}"
