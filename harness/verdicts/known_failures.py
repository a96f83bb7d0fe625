"""Known failures: an overlay that keeps a run green while every entry is still run, and that bites both ways.

The file is TOML, one table per entry:

    [[known]]
    clause = "FIN-07"                # required
    case = "fin-07 [two ranks]"      # default: every case of the clause
    reason = "our store has no rename"   # required
    expires = 2027-03-01             # default: never; from that day on the failure counts again
    defect = "mypkg#12"              # default: none
    torch = ">=2.12,<2.14"           # default: every release; beside another the entry is as good as not there
"""

from __future__ import annotations

import datetime
import difflib
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from dcp_conformance.harness.backend.torch_release import installed
from dcp_conformance.harness.errors import UsageError
from dcp_conformance.harness.verdicts.verdict import CaseOutcome, Verdict

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from dcp_conformance.harness.contract import Catalogue

FIELDS = ("clause", "case", "reason", "expires", "defect")
"""What an entry says, in files and in certificates."""
_WRITABLE = (*FIELDS, "torch")


@dataclass(frozen=True, kw_only=True)
class KnownFailure:
    """One entry."""

    clause: str
    reason: str
    case: str | None = None
    #: Its first day without effect.
    expires: datetime.date | None = None
    defect: str = ""
    #: Its file, line and number, for messages.
    where: str = ""

    def covers(self, clause: str, case: str) -> bool:
        """Tell whether the entry speaks of this case."""
        # Without a case the entry speaks of all cases of its clause.
        return self.clause == clause and self.case in (None, case)

    @property
    def title(self) -> str:
        """The entry in words: its clause, and its case if it names one."""
        return self.clause if self.case is None else f"{self.clause}, case {self.case}"

    def as_data(self) -> dict[str, Any]:
        """Return the entry as JSON data, without the place of its file."""
        expires = None if self.expires is None else self.expires.isoformat()
        return {
            "clause": self.clause,
            "case": self.case,
            "reason": self.reason,
            "expires": expires,
            "defect": self.defect,
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> KnownFailure:
        """Return the entry that `as_data` wrote."""
        expires = data["expires"] and datetime.date.fromisoformat(data["expires"])
        return cls(**{**data, "expires": expires or None})


@dataclass(frozen=True, kw_only=True)
class KnownFailures:
    """The entries of one file, as they stand on the day `today`."""

    entries: tuple[KnownFailure, ...] = ()
    today: datetime.date | None = None

    def expired(self, entry: KnownFailure) -> bool:
        """Tell whether the day that the entry names has come."""
        return entry.expires is not None and self.today is not None and entry.expires <= self.today

    def expected(self, clause: str, case: str) -> KnownFailure | None:
        """Return the entry that covers this case, the one that names it before the one for the whole clause."""
        covering = [entry for entry in self.entries if entry.covers(clause, case) and not self.expired(entry)]
        # False sorts before True: the entry that names the case comes first.
        return min(covering, key=lambda entry: entry.case is None, default=None)

    def current(self, catalogue: Catalogue) -> KnownFailures:
        """Return them with the ids of now: an entry for a clause that was split covers each of its parts."""
        entries = (replace(entry, clause=now) for entry in self.entries for now in catalogue.current((entry.clause,)))
        return replace(self, entries=tuple(entries))

    def unknown(self, catalogue: Catalogue) -> list[str]:
        """Return what is wrong with entries whose clause is none, a sentence each: that needs no run."""
        return [_unknown_clause(entry, catalogue) for entry in self.entries if entry.clause not in catalogue]

    def problems(
        self,
        outcomes: Iterable[CaseOutcome],
        *,
        collected: Mapping[str, Collection[str]],
        catalogue: Catalogue,
        levels: Collection[str],
        partial: bool,
    ) -> list[str]:
        """Return what is wrong with the entries after a run, one sentence each; any of them makes the run fail.

        `collected` maps a case to its clauses, `levels` are the levels of this run. An entry outside them, and on a
        narrowed run an entry for what was not selected or for a whole clause, says nothing and is left alone.
        """
        seen = tuple(outcomes)
        sentences = [self._problem(entry, seen, collected, catalogue, levels, partial) for entry in self.entries]
        return [sentence for sentence in sentences if sentence]

    def _problem(
        self,
        entry: KnownFailure,
        outcomes: tuple[CaseOutcome, ...],
        collected: Mapping[str, Collection[str]],
        catalogue: Catalogue,
        levels: Collection[str],
        partial: bool,
    ) -> str:
        # First of all: an expired entry bites on a narrowed run too, where it could otherwise be forgotten.
        if self.expired(entry):
            return (
                f"{entry.where}: the entry for {entry.title} expired on {entry.expires}. "
                "Mend the defect, or set a new day with a new reason."
            )
        if entry.clause not in catalogue:
            return _unknown_clause(entry, catalogue)
        if not any(entry.covers(clause, case) for case, clauses in collected.items() for clause in clauses):
            # What was not selected cannot be called unmatched: one file serves runs of single levels.
            outside = partial or catalogue[entry.clause].level not in levels
            return "" if outside else _unmatched(entry, collected)
        if partial and entry.case is None:
            return ""  # the case that fails may be one that was not selected
        return _stale(entry, [outcome for outcome in outcomes if entry.covers(outcome.clause, outcome.case)])


def known_of(certificate: Mapping[str, Any]) -> KnownFailures:
    """Return the entries that had effect on the day of a run, from its certificate."""
    return KnownFailures(
        entries=tuple(
            KnownFailure.from_data({name: entry[name] for name in FIELDS})
            for entry in certificate["known_failures"]
            if not entry["expired"]
        )
    )


def load(path: str | Path, *, today: datetime.date | None = None, torch: str | None = None) -> KnownFailures:
    """Read a known-failures file, and keep the entries for the release `torch`: the installed one unless given.

    `today` decides what has expired; it is the current day in UTC unless given.

    Raises UsageError that lists every problem at once: an unreadable file, bad TOML, an unknown or missing field,
    a bad date, an entry that is there twice. What only the run can tell is left to `KnownFailures.problems`.
    """
    name = str(path)
    try:
        text = Path(path).read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"Known failures: cannot read {name}: {error.strerror or error}. Check the path.") from error
    except ValueError as error:
        raise UsageError(f"Known failures: {name} is not valid TOML: {error}. Every entry begins [[known]].") from error
    entries, problems = _parse(data, name, _header_lines(text), torch or installed() or "0")
    if problems:
        raise UsageError("Known failures cannot be used:\n" + "\n".join(f"  {problem}" for problem in problems))
    return KnownFailures(entries=tuple(entries), today=today or datetime.datetime.now(datetime.timezone.utc).date())


def _header_lines(text: str) -> list[int]:
    lines = enumerate(text.splitlines(), start=1)
    return [number for number, line in lines if re.match(r"\s*\[\[\s*(known|\"known\"|'known')\s*\]\]", line)]


def _parse(data: Mapping[str, Any], name: str, lines: list[int], torch: str) -> tuple[list[KnownFailure], list[str]]:
    problems = [
        f"{name}: unknown name {key!r} at the top of the file. Every entry begins with a line [[known]]."
        for key in data
        if key != "known"
    ]
    tables = data.get("known", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        return [], [*problems, f"{name}: 'known' must be a list of tables: write [[known]], with two brackets."]
    entries: list[KnownFailure] = []
    for number, table in enumerate(tables, start=1):
        # Without a matching header (inline tables) the number of the entry alone has to do.
        line = f":{lines[number - 1]}" if len(lines) == len(tables) else ""
        where = f"{name}{line}, entry {number}"
        wrong = _table_problems(table, where)
        problems += wrong
        # A table with problems makes no entry, or a duplicate of nonsense would be reported on top of it.
        if not wrong and _concerns(table, torch):
            entry = _entry(table, where)
            problems += _duplicates(entry, entries)
            entries.append(entry)
    return entries, problems


def _table_problems(table: Mapping[str, Any], where: str) -> list[str]:
    problems = []
    for key in table:
        if key not in _WRITABLE:
            near = difflib.get_close_matches(key, _WRITABLE, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else f" Fields are {', '.join(_WRITABLE)}."
            problems.append(f"{where}: unknown field {key!r}.{hint}")
    if not _is_text(table.get("clause")):
        problems.append(f'{where}: no clause. Write clause = "FIN-07", the id of the clause that is broken.')
    if not _is_text(table.get("reason")):
        problems.append(f'{where}: no reason. Write reason = "...", a sentence that says why this fails today.')
    if "case" in table and not _is_text(table["case"]):
        problems.append(f"{where}: case must be the name of a case; leave it out for every case of the clause.")
    if "defect" in table and not _is_text(table["defect"]):
        problems.append(f"{where}: defect must be the id of a defect in quotes; leave it out where there is none.")
    if "expires" in table and _day(table["expires"]) is None:
        problems.append(f"{where}: expires is not a day. Write expires = 2027-03-01.")
    if "torch" in table and _releases(table["torch"]) is None:
        problems.append(f'{where}: torch names no releases. Write torch = ">=2.12" or torch = ">=2.10,<2.13".')
    return problems


def _releases(value: object) -> SpecifierSet | None:
    """The releases that an entry names; None where it names none."""
    try:
        return SpecifierSet(value) if isinstance(value, str) and value.strip() else None
    except InvalidSpecifier:
        return None


def _concerns(table: Mapping[str, Any], torch: str) -> bool:
    """Whether an entry is about this torch. A build of a release to come, or for some CUDA, counts as that release."""
    releases = _releases(table.get("torch"))
    return releases is None or Version(torch).base_version in releases


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _day(value: object) -> datetime.date | None:
    # Asked first: a datetime is a date as well, and does not compare with one.
    if isinstance(value, datetime.datetime):
        return value.date()
    if isinstance(value, datetime.date):
        return value
    try:
        return datetime.date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        # Reported by the caller as a sentence with the place of the entry.
        return None


def _entry(table: Mapping[str, Any], where: str) -> KnownFailure:
    return KnownFailure(
        clause=table["clause"].strip(),
        case=table.get("case"),
        reason=table["reason"].strip(),
        expires=_day(table.get("expires")),
        defect=table.get("defect", ""),
        where=where,
    )


def _duplicates(entry: KnownFailure, others: Iterable[KnownFailure]) -> list[str]:
    same = [other for other in others if (other.clause, other.case) == (entry.clause, entry.case)]
    return [f"{entry.where}: {entry.title} is listed already ({other.where}). Keep one of them." for other in same[:1]]


def _unknown_clause(entry: KnownFailure, catalogue: Catalogue) -> str:
    near = difflib.get_close_matches(entry.clause, [clause.id for clause in catalogue], n=2)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"{entry.where}: there is no clause {entry.clause}.{hint} Correct the entry or remove it."


def _unmatched(entry: KnownFailure, collected: Mapping[str, Collection[str]]) -> str:
    cases = sorted(case for case, clauses in collected.items() if entry.clause in clauses)
    if not cases:
        return f"{entry.where}: the entry for {entry.title} matches nothing: no case checks this clause. Remove it."
    near = difflib.get_close_matches(entry.case or "", cases, n=3, cutoff=0.0)
    return f"{entry.where}: the entry for {entry.title} matches nothing. Its cases include {'; '.join(near)}."


def _stale(entry: KnownFailure, outcomes: list[CaseOutcome]) -> str:
    """Say that an entry is stale: something passed and nothing failed. A failed set-up is neither."""
    # Of an entry for a whole clause one failing case is enough: it still has something to cover.
    passed = any(outcome.verdict is Verdict.PASS for outcome in outcomes)
    if not passed or any(outcome.verdict > Verdict.PASS for outcome in outcomes):
        return ""
    return (
        f"{entry.where}: {entry.title} passes now, though it is listed as a known failure ({entry.reason}). "
        "Remove the entry, so that the promise is kept from now on."
    )
