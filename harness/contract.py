"""The contract as data: clauses, levels, and the loader of the catalogue. Imports neither torch nor pytest.

A level is a folder; a file `clauses.toml` in it, or in a chapter's folder below it, holds clauses. A clause is one
table, named by its id::

    [TYPE-15]
    promise = "Complex tensors come back byte for byte."   # one sentence: what is promised, not how it is checked
    strength = "MUST"                  # MUST costs the level, SHOULD is advice, MAY is an allowed freedom
    applies = ["S", "F"]               # whom it binds: S storage, E engine, P planner, F format, U utilities
    about = ["load"]                   # optional, for E and P: the functions whose promise it is (default: save, load)
    basis = "documented"               # what stands behind it upstream, see BASES
    experimental = true                # optional: upstream calls the feature that it is about experimental
    world = 1                          # the smallest number of ranks with which a check means something
    gpu = true                         # optional: needs an accelerator (these clauses form the level accelerator)
    capabilities = ["exotic_dtypes"]   # optional: not applicable to a backend that opted out of one of them
    tools = ["dcp_to_torch_save"]      # optional: planners and utilities (P, U) are bound only where all are exported
    drop_in = true                     # optional: binds only a backend that also replaces torch's private behaviour
    source = "storage.py:StorageWriter.write_data"
    excluded = "..."                   # why nothing checks it; every MAY clause says so

A source names a function below torch/distributed/checkpoint of torch 2.13 (`file.py:function`), one of PyTorch's own
tests of it (`test_file.py:test`), or an issue or pull request of pytorch/pytorch (`#12345`); `;` separates several.
"""

from __future__ import annotations

import difflib
import enum
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcp_conformance.harness.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LEVELS = (
    "core",
    "distributed",
    "failure",
    "asynchronous",
    "compatibility",
    "durability",
    "security",
    "scale",
    "accelerator",
)
LETTERS = ("S", "E", "P", "F", "U")
FUNCTIONS = ("save", "load", "async_save")
# What stands behind a promise, the strongest first: torch's documentation or docstrings say so, a test of torch asserts
# it, its source was plainly written to do it, or it is this contract's own demand, which torch's makers never made.
BASES = ("documented", "upstream-tested", "upstream-source", "ours")
LARGEST_WORLD = 4  # no clause needs more ranks to mean something

_FILE = "clauses.toml"
_RENAMED = "renamed.toml"
_ID = re.compile(r"([A-Z]+)-(\d{2,})")


class Strength(enum.Enum):
    """What an unmet clause costs: the level, a word of advice, or nothing."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    MAY = "MAY"


@dataclass(frozen=True, kw_only=True)
class Clause:
    """One promise of the contract. The fields are those of `clauses.toml`, see the top of this module."""

    id: str
    strength: Strength
    applies: frozenset[str]
    world: int
    level: str
    promise: str
    source: str
    about: tuple[str, ...] = ("save", "load")
    basis: str = "ours"
    experimental: bool = False
    gpu: bool = False
    capabilities: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    drop_in: bool = False
    excluded: str | None = None


class Catalogue:
    """All clauses of a contract, iterated in the order of their ids."""

    def __init__(self, clauses: Iterable[Clause], renamed: Mapping[str, tuple[str, ...]] | None = None) -> None:
        """Raises UsageError when two clauses share an id. renamed: ids of earlier releases, with those of now."""
        self.renamed = dict(renamed or {})
        self._clauses: dict[str, Clause] = {}
        for clause in sorted(clauses, key=_id_order):
            twin = self._clauses.setdefault(clause.id, clause)
            if twin is not clause:
                raise UsageError(
                    f"Clause {clause.id} is both in {twin.level}/{_FILE} and in {clause.level}/{_FILE}: "
                    "an id names one clause."
                )

    def __iter__(self) -> Iterator[Clause]:
        return iter(self._clauses.values())

    def __len__(self) -> int:
        return len(self._clauses)

    def __contains__(self, clause_id: object) -> bool:
        return clause_id in self._clauses

    def __getitem__(self, clause_id: str) -> Clause:
        """Return the clause of that id. Raises UsageError, with the nearest ids, when there is none."""
        try:
            return self._clauses[clause_id]
        except KeyError:
            if clause_id in self.renamed:
                now = " and ".join(self.renamed[clause_id])
                raise UsageError(f"The clause {clause_id} was renamed: it is {now} now.") from None
            near = _nearest(clause_id.upper(), self._clauses)
            raise UsageError(f"The contract has no clause {clause_id!r}{near}.") from None

    def current(self, clause_ids: Iterable[str]) -> tuple[str, ...]:
        """Return the ids of now: those of a clause that was renamed or split in the place of its own."""
        return tuple(dict.fromkeys(now for name in clause_ids for now in self.renamed.get(name, (name,))))

    def in_level(self, level: str) -> tuple[Clause, ...]:
        """Return the clauses of one level, in the order of their ids. Raises UsageError when there is no such level."""
        if level not in LEVELS:
            raise UsageError(f"There is no level {level!r}. The levels are {', '.join(LEVELS)}.")
        return tuple(clause for clause in self if clause.level == level)


def load_catalogue(folder: Path) -> Catalogue:
    """Read every `clauses.toml` below `<folder>/<level>` of every level.

    Raises UsageError, naming the file and the clause, when a file cannot be read, an id occurs twice, or a field is
    missing, unknown or unusable. Names of capabilities are not checked here: the list of them belongs to the backend.
    """
    for path in sorted(folder.rglob(_FILE)):
        if path.relative_to(folder).parts[0] not in LEVELS:
            raise UsageError(f"{path} belongs to no level. The levels are {', '.join(LEVELS)}.")
    found = (clause for level in LEVELS for path in _chapters(folder / level) for clause in _read(path, level))
    return Catalogue(found, renamed_in(folder / _RENAMED))


def renamed_in(path: Path) -> dict[str, tuple[str, ...]]:
    """Return the ids that were renamed or split, each with those of now. Raises UsageError for an unusable file."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise UsageError(f"Renamed clauses cannot be read from {path}: {error}.") from error
    for old, now in tables.items():
        ids = [old, *now] if isinstance(now, list) and now else [""]
        if not all(isinstance(name, str) and _ID.fullmatch(name) for name in ids):
            raise UsageError(f'{path}: {old} must name the clauses of now, as in OLD-01 = ["NEW-01"].')
    return {old: tuple(now) for old, now in tables.items()}


def _chapters(folder: Path) -> list[Path]:
    # A level without any file is a mistake, which reading the one that should be there will name.
    return sorted(folder.rglob(_FILE)) or [folder / _FILE]


def _read(path: Path, level: str) -> list[Clause]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # TOMLDecodeError and UnicodeDecodeError are both a ValueError
        raise UsageError(f"The clauses of the level {level} cannot be read from {path}: {error}.") from error
    return [_clause(clause_id, table, level, path) for clause_id, table in tables.items()]


def _clause(clause_id: str, table: object, level: str, path: Path) -> Clause:
    problem = _problem(clause_id, table, level)
    if problem is not None:
        raise UsageError(f"{path}, clause {clause_id}: {problem}.")
    assert isinstance(table, dict)  # _problem saw to it
    return Clause(
        **{
            **table,
            "id": clause_id,
            "level": level,
            "strength": Strength(table["strength"]),
            "applies": frozenset(table["applies"]),
            "about": tuple(table.get("about", Clause.about)),
            "capabilities": tuple(table.get("capabilities", ())),
            "tools": tuple(table.get("tools", ())),
        }
    )


def _problem(clause_id: str, table: object, level: str) -> str | None:
    """Return what makes a table unusable as a clause of that level, or None."""
    if not _ID.fullmatch(clause_id):
        return "an id is capital letters, a hyphen and at least two digits, as in TYPE-02"
    if not isinstance(table, dict):
        return "a clause is a table of fields"
    return _problem_of_fields(table) or _problem_of_the_whole(table, level)


def _problem_of_fields(table: Mapping[str, Any]) -> str | None:
    unknown = [field for field in table if field not in _CHECKS]
    if unknown:
        return f"the field {unknown[0]!r} is unknown{_nearest(unknown[0], _CHECKS)}"
    missing = [field for field in _REQUIRED if field not in table]
    if missing:
        return f"the field {missing[0]!r} is missing"
    for field, value in table.items():
        usable, expected = _CHECKS[field]
        if not usable(value):
            return f"{field} is {value!r}, but must be {expected}"
    return None


def _problem_of_the_whole(table: Mapping[str, Any], level: str) -> str | None:
    if table.get("gpu", False) != (level == "accelerator"):
        return f"it is in the level {level}, but clauses with gpu = true, and no others, form the level accelerator"
    if table["strength"] == "MAY" and "excluded" not in table:
        return "a MAY clause has no verdict, so it needs the field 'excluded' with the reason"
    return None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value) and value == " ".join(value.split())


def _is_sentence(value: object) -> bool:
    return isinstance(value, str) and _is_text(value) and value.endswith(".") and not re.search(r"[.!?] ", value)


def _is_list(value: object, allowed: Collection[str] | None = None) -> bool:
    """Tell whether it is a list of different texts, all of them allowed ones where there is a choice."""
    if not isinstance(value, list) or not all(_is_text(item) for item in value):
        return False
    return len(set(value)) == len(value) and (allowed is None or set(value) <= set(allowed))


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


# For each field: whether a value is usable, and what it should have been.
_CHECKS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "promise": (_is_sentence, "one sentence on one line that ends with a full stop"),
    "strength": (lambda value: value in [strength.value for strength in Strength], "MUST, SHOULD or MAY"),
    "applies": (lambda value: bool(value) and _is_list(value, LETTERS), "a list of letters out of S, E, P, F and U"),
    "about": (
        lambda value: bool(value) and _is_list(value, FUNCTIONS),
        "a list of names out of save, load and async_save",
    ),
    "basis": (lambda value: value in BASES, f"one of {', '.join(BASES)}"),
    "world": (
        lambda value: type(value) is int and 1 <= value <= LARGEST_WORLD,  # `true` is an int, but no world
        f"a number of ranks from 1 to {LARGEST_WORLD}",
    ),
    "experimental": (_is_flag, "true or false"),
    "gpu": (_is_flag, "true or false"),
    "capabilities": (_is_list, "a list of different names"),
    "tools": (_is_list, "a list of different names"),
    "drop_in": (_is_flag, "true or false"),
    "source": (_is_text, "a text on one line"),
    "excluded": (_is_text, "a reason on one line"),
}
_REQUIRED = ("promise", "strength", "applies", "world", "basis", "source")


def _id_order(clause: Clause) -> tuple[str, int, str]:
    prefix, _, number = clause.id.rpartition("-")
    return prefix, len(number), number


def _nearest(given: str, known: Iterable[str]) -> str:
    """Return what may have been meant, in brackets; empty when nothing is near."""
    near = difflib.get_close_matches(given, list(known))
    return f" (nearest: {', '.join(near)})" if near else ""
