"""From clause results to levels, to pytest's words and to the exit code: the outcome table of docs/words.md."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dcp_conformance.harness.contract import LEVELS
from dcp_conformance.harness.verdicts.verdict import (
    ENGINE,
    KNOWN,
    NOT_EXERCISED,
    CaseOutcome,
    ClauseResult,
    Column,
    Verdict,
)

State = Literal["held", "lost", "not decided", "not run"]
PytestWord = Literal["passed", "skipped", "xfailed", "failed", "error"]

# pytest's own exit codes that ours must not hide: interrupted, internal error, usage error.
_PYTEST_STOPPED = (2, 3, 4)


@dataclass(frozen=True, kw_only=True)
class LevelResult:
    """One level of one run. Every tuple holds ids of owned clauses, in order; nothing else is counted.

    Each owned clause that applied is kept, or in exactly one of the tuples.
    """

    level: str
    state: State
    kept: int = 0
    #: How many MUST and SHOULD clauses are owned and applied.
    owned: int = 0
    #: What cost the level: a MUST that failed, any hang.
    broken: tuple[str, ...] = ()
    #: The same, covered by known failures.
    known: tuple[str, ...] = ()
    #: A SHOULD that failed.
    advice: tuple[str, ...] = ()
    #: The same, covered by known failures.
    known_advice: tuple[str, ...] = ()
    #: Shown to be the engine's.
    engine: tuple[str, ...] = ()
    untestable: tuple[str, ...] = ()
    not_exercised: tuple[str, ...] = ()
    harness_errors: tuple[str, ...] = ()
    not_applicable: int = 0
    #: How many cases ran, in any column.
    executed: int = 0
    #: Why the level is not held.
    reason: str = ""

    @property
    def label(self) -> str:
        """The state as reports write it; a level lost through known failures only is marked so."""
        return "lost (known)" if self.state == "lost" and not self.broken else self.state

    @property
    def should_broken(self) -> int:
        """How many SHOULD clauses failed, known or not."""
        return len(self.advice) + len(self.known_advice)

    def as_data(self) -> dict[str, Any]:
        """Return the level as JSON data."""
        data = dict(vars(self))
        return {name: list(value) if isinstance(value, tuple) else value for name, value in data.items()}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> LevelResult:
        """Return the level that `as_data` wrote."""
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in data.items()
        }
        return cls(**fields)


def pytest_word(
    outcome: CaseOutcome, *, strength: str, column: Column = "backend", known: bool = False, strict: bool = False
) -> PytestWord:
    """Choose pytest's word for one outcome. `strength`: the clause's; `known`: an entry covers the case."""
    if outcome.verdict is Verdict.HARNESS_ERROR:
        return "error"
    if not outcome.verdict.failing:
        return "passed" if outcome.verdict is Verdict.PASS else "skipped"
    if outcome.engine or column == "engine" or known or strength == "MAY":
        return "xfailed"
    advice = strength == "SHOULD" and outcome.verdict is Verdict.FAIL and not strict
    return "xfailed" if advice else "failed"


def worst_word(words: Iterable[PytestWord]) -> PytestWord:
    """Return the word of a test that checks several clauses; a test without any clause is a plain pass."""
    order: tuple[PytestWord, ...] = ("passed", "skipped", "xfailed", "failed", "error")
    return max(words, key=order.index, default="passed")


def level_results(
    results: Iterable[ClauseResult], *, selected: Collection[str], partial: bool = False
) -> tuple[LevelResult, ...]:
    """Return one LevelResult for every level, in the order of LEVELS. `selected` are the levels of this run.

    `results` holds one ClauseResult for every MUST and SHOULD clause that is owned or in the engine's column,
    exercised or not. A narrowed run (`partial`) can lose a level, but holds none.
    """
    everything = tuple(results)
    return tuple(
        _level(level, [result for result in everything if result.level == level], partial)
        if level in selected
        else LevelResult(level=level, state="not run", reason="not part of this run")
        for level in LEVELS
    )


def exit_code(
    levels: Sequence[LevelResult],
    *,
    asked: Collection[str] = (),
    strict: bool = False,
    partial: bool = False,
    errors: Sequence[str] = (),
    pytest_status: int = 0,
) -> int:
    """Return the exit code of a run: 0 or 1 by the outcome table, never greener than `pytest_status`.

    `asked` are the levels named by --level: one that is not decided fails the run, unless the run was narrowed.
    `errors` are sentences about the run itself (stale known failures, broken event files). Nothing executed is 1.
    """
    # Before the levels: a run that was interrupted has not judged what they would be decided by.
    if pytest_status in _PYTEST_STOPPED:
        return pytest_status
    # pytest's 1 is kept even where no level is lost, for a test that failed outside of every clause. Its 5 (no tests)
    # is covered by "nothing executed".
    failed = bool(errors) or pytest_status == 1 or not any(level.executed for level in levels)
    failed = failed or any(level.broken or level.harness_errors or (strict and level.advice) for level in levels)
    # A narrowed run decides no level, so asking for one by name would make every narrowed run fail.
    undecided = not partial and any(
        level.level in asked and level.state in ("not decided", "not run") for level in levels
    )
    return int(failed or undecided)


def _level(level: str, results: Sequence[ClauseResult], partial: bool) -> LevelResult:
    # A MAY binds nobody; the engine's column decides nothing about the backend.
    owned = [result for result in results if result.column == "backend" and result.strength != "MAY"]
    skipped = [result for result in owned if result.verdict is Verdict.NOT_APPLICABLE]
    counted = [result for result in owned if result.verdict is not Verdict.NOT_APPLICABLE]
    groups = _groups(counted)
    executed = sum(case.verdict is not Verdict.NOT_APPLICABLE for result in results for case in result.cases)
    kept = [result for result in counted if result.standing == "pass"]
    undecided_must = [
        result.clause
        for result in counted
        if result.strength == "MUST" and result.standing in ("untestable", NOT_EXERCISED)
    ]
    state, reason = _state(groups, undecided_must, kept=len(kept), owned=len(counted), partial=partial)
    return LevelResult(
        level=level,
        state=state,
        kept=len(kept),
        owned=len(counted),
        not_applicable=len(skipped),
        executed=executed,
        reason=reason,
        **groups,
    )


def _groups(counted: Iterable[ClauseResult]) -> dict[str, tuple[str, ...]]:
    names = ("broken", "known", "advice", "known_advice", "engine", "untestable", "not_exercised", "harness_errors")
    groups: dict[str, list[str]] = {name: [] for name in names}
    for result in counted:
        group = _group(result)
        if group:
            groups[group].append(result.clause)
    return {name: tuple(sorted(ids)) for name, ids in groups.items()}


def _group(result: ClauseResult) -> str:
    """Return the tuple of LevelResult that a counted clause belongs to; empty for a kept one."""
    # A hang costs the level whatever the strength: a user's job that hangs is not a matter of advice.
    costs = result.strength == "MUST" or result.verdict is Verdict.HANG
    return {
        "pass": "",
        ENGINE: "engine",
        KNOWN: "known" if costs else "known_advice",
        "untestable": "untestable",
        NOT_EXERCISED: "not_exercised",
        "harness-error": "harness_errors",
        "fail": "broken" if costs else "advice",
        "hang": "broken",
    }[result.standing]


def _state(
    groups: dict[str, tuple[str, ...]], undecided_must: Sequence[str], *, kept: int, owned: int, partial: bool
) -> tuple[State, str]:
    """Return the state of a level and why it is not held. Advice that could not be tested never costs a level."""
    # The order is the rule: what was seen broken is broken on a narrowed run too, and a fault of the harness elsewhere
    # does not undo it. Each line below keeps a level from being held by less than full evidence.
    if groups["broken"] or groups["known"]:
        known = "" if groups["broken"] else ", all of them known"
        return "lost", f"{len(groups['broken'] + groups['known'])} broken{known}"
    if not owned:
        return "not run", "no clause of it binds this backend here"
    if groups["harness_errors"]:
        return "not decided", "the harness failed on " + _some(groups["harness_errors"])
    if partial:
        return "not decided", "the run was narrowed"
    if undecided_must:
        return "not decided", "no verdict on " + _some(undecided_must)
    if not kept:
        return "not decided", "no clause of it was seen kept"
    return "held", ""


def _some(ids: Sequence[str], most: int = 4) -> str:
    more = f" and {len(ids) - most} more" if len(ids) > most else ""
    return ", ".join(ids[:most]) + more
