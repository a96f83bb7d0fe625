"""What changed between two certificates: clauses lost and won, new and gone, levels, times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dcp_conformance.harness.certificate.prose import count, paragraph, plain

_KEPT = frozenset({"pass", "not-applicable"})
# Slower by this factor, and by this many seconds, is told; a machine under load does less than that.
_SLOWER, _SECONDS = 2.0, 1.0
_LISTED = 20
Renamed = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One clause that stands otherwise than before; a standing is None where there is no such clause."""

    clause: str
    strength: str
    before: str | None
    after: str | None

    @property
    def lost(self) -> bool:
        """Whether a clause that was kept, or was not there, is broken now."""
        return self.after in ("fail", "hang") and self.before not in ("fail", "hang")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that changed from an old certificate to a new one."""

    changes: tuple[Change, ...]
    levels: tuple[tuple[str, str, str], ...]
    slower: tuple[tuple[str, float, float], ...]
    seconds: tuple[float, float]

    @property
    def lost(self) -> tuple[Change, ...]:
        """Clauses broken now that were not before."""
        return tuple(change for change in self.changes if change.lost)

    @property
    def won(self) -> tuple[Change, ...]:
        """Clauses kept now that were not before."""
        return tuple(item for item in self.changes if item.before not in (None, *_KEPT) and item.after in _KEPT)

    @property
    def new(self) -> tuple[Change, ...]:
        """Clauses that only the new certificate knows."""
        return tuple(change for change in self.changes if change.before is None)

    @property
    def gone(self) -> tuple[Change, ...]:
        """Clauses that only the old certificate knows."""
        return tuple(change for change in self.changes if change.after is None)

    @property
    def others(self) -> tuple[Change, ...]:
        """Every other clause that stands otherwise."""
        told = {*self.lost, *self.won, *self.new, *self.gone}
        return tuple(change for change in self.changes if change not in told)


def compared(old: Mapping[str, Any], new: Mapping[str, Any], renamed: Renamed | None = None) -> Comparison:
    """Return the comparison of two certificates. `renamed`: ids of the old suite, with those of the new one."""
    names = renamed or {}
    before = {now: entry for clause, entry in _entries(old).items() for now in names.get(clause, (clause,))}
    after = _entries(new)
    changes = [
        Change(
            clause=clause,
            strength=str((after.get(clause) or before[clause]).get("strength", "")),
            before=_standing(before.get(clause)),
            after=_standing(after.get(clause)),
        )
        for clause in sorted({*before, *after})
        if _standing(before.get(clause)) != _standing(after.get(clause))
    ]
    states = [{level["level"]: level["state"] for level in one["levels"]} for one in (old, new)]
    return Comparison(
        changes=tuple(changes),
        levels=tuple(
            (name, states[0][name], states[1][name]) for name in states[1] if states[0][name] != states[1][name]
        ),
        slower=tuple(_slower(old, new)),
        seconds=(sum(_times(old).values()), sum(_times(new).values())),
    )


def comparison_lines(comparison: Comparison, width: int = 80) -> list[str]:
    """Return the comparison for a terminal, what was lost first."""
    lines = [f"{level}: {before}, now {after}" for level, before, after in comparison.levels]
    for title, changes in (
        ("lost", comparison.lost),
        ("won", comparison.won),
        ("new", comparison.new),
        ("gone", comparison.gone),
        ("otherwise", comparison.others),
    ):
        if changes:
            told = [f"{item.clause} ({item.before or 'absent'}, now {item.after or 'absent'})" for item in changes]
            more = f" and {len(told) - _LISTED} more" if len(told) > _LISTED else ""
            lines += paragraph(f"{len(changes)} {title}: {', '.join(told[:_LISTED])}{more}", width, rest="  ")
    slow = [f"{plain(case)} ({before:.1f} s, now {after:.1f} s)" for case, before, after in comparison.slower[:5]]
    if slow:
        lines += paragraph(f"{count(len(comparison.slower), 'case')} slower: {', '.join(slow)}", width, rest="  ")
    before, after = comparison.seconds
    return [*(lines or ["Every clause stands as before."]), f"Time of all cases: {before:.0f} s, now {after:.0f} s."]


def _entries(certificate: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    columns = ("clauses", "engine_column", "not_applicable", "excluded")
    return {entry["id"]: {**entry, "column": column} for column in columns for entry in certificate[column]}


def _standing(entry: Mapping[str, Any] | None) -> str | None:
    if entry is None:
        return None
    if entry["column"] == "engine_column":
        return f"engine's column: {entry['standing']}"
    return str(entry.get("standing", {"not_applicable": "not-applicable"}.get(entry["column"], entry["column"])))


def _slower(old: Mapping[str, Any], new: Mapping[str, Any]) -> Sequence[tuple[str, float, float]]:
    before, after = _times(old), _times(new)
    found = [(case, before[case], after[case]) for case in after if case in before]
    slow = [one for one in found if one[2] > one[1] * _SLOWER and one[2] > one[1] + _SECONDS]
    return sorted(slow, key=lambda one: one[1] - one[2])


def _times(certificate: Mapping[str, Any]) -> dict[str, float]:
    """Seconds for each case; a case of several clauses counts once."""
    return dict(_timed(certificate))


def _timed(certificate: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for entry in (*certificate["clauses"], *certificate["engine_column"]):
        for case in entry["cases"]:
            yield case["case"], float(case["seconds"])
