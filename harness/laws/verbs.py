"""Laws: they judge in the pytest process what ranks observed, and raise one of four things.

Broken: a promise was seen broken, with the smallest difference and its rank. Untestable: the check could not be made.
NotApplicable: the clause itself makes a condition that is not met here.
HarnessFault: our own machinery failed. Anything else that a test raises is a harness fault too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from dcp_conformance.harness.cluster import Died, Doubt, ExceptionRecord, Hung, Outcome, Raised, Returned
from dcp_conformance.harness.laws.observations import Attempt, Difference

# An error came from the code under test if its traceback passes through one of these frames.
_DOORS = (("harness/subject/session.py", "into_subject"), ("harness/faults/proxy.py", "through_tap"))


class Broken(AssertionError):
    """A promise was seen broken. observed: half a sentence; kind: a short name to compare findings by."""

    def __init__(
        self, observed: str, *, kind: str, rank: int | None = None, evidence: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(observed)
        self.observed, self.kind, self.rank, self.evidence = observed, kind, rank, dict(evidence or {})
        # A smaller body that shows this finding alone, for the further trials that decide blame (default: the case's).
        self.witness: Callable[[Any], None] | None = None
        # Further findings of the same clause and case, each with its witness: one of them may be the backend's.
        self.others: tuple[Broken, ...] = ()


class Untestable(Exception):
    """The check could not be made here; the text says why."""


class NotApplicable(Exception):
    """The clause has a condition (a planner that caches plans, a signature that takes more) that is not met here."""


class HarnessFault(Exception):
    """The harness itself failed; never held against the backend."""


# Only code under test can have sent what no rank of ours sends.
_GARBAGE = "dcp_conformance.harness.cluster.answers.ChannelGarbage"
# How a scenario says on its rank that there is nothing to judge: harness.subject.session.
_ENDINGS: Mapping[str, type[Exception]] = {
    "dcp_conformance.harness.subject.session.Excused": NotApplicable,
    "dcp_conformance.harness.subject.session.GaveUp": Untestable,
}


# What the events hold that are judged by: who sends others has sent them in the place of ours.
_FIELDS: Mapping[str, Mapping[str, type]] = {
    "call": {"owner": str, "part": str, "name": str}, "id": {"name": str, "id": str},
    "fault": {"phase": str, "what": str}, "loading": {"number": int}, "combination": {"place": int},
}  # fmt: skip


def must_return(outcomes: Sequence[Outcome]) -> list[Any]:
    """Return the values of all ranks, in rank order; Broken when a rank raised, died or hung instead of returning."""
    must_have_gone_on(outcomes)
    hung = [outcome for outcome in outcomes if isinstance(outcome, Hung)]
    if hung:
        raise hang_finding(hung)
    for outcome in outcomes:
        if isinstance(outcome, Died):
            raise death_finding(outcome)
    for outcome in outcomes:
        if isinstance(outcome, Raised):
            raise unexpected(outcome.error, outcome.rank, outcome)
    return [outcome.value for outcome in outcomes if isinstance(outcome, Returned)]


def must_have_gone_on(outcomes: Sequence[Outcome]) -> None:
    """NotApplicable or Untestable where a rank found nothing to judge: others may have waited for it in vain."""
    for outcome in outcomes:
        if isinstance(outcome, Raised) and (ending := ended_by_itself(outcome.error)) is not None:
            raise ending


def must_be_believable(outcomes: Sequence[Outcome]) -> None:
    """Broken where a rank's channel or our functions were tampered with, or loaded values did not stay what they were.

    Untestable where functions of torch were replaced that values are compared with: that may be meant well.
    """
    for outcome in outcomes:
        for doubt in outcome.doubts:
            raise _finding_of(doubt, outcome.rank)
        for event in outcome.events:
            for field, kind in _FIELDS.get(event.kind, {}).items():
                if not isinstance(event.data.get(field), kind):
                    raise _finding_of(Doubt("garbled", f"an event {event.kind!r} without its {field!r}"), outcome.rank)


def _finding_of(doubt: Doubt, rank: int) -> Exception:
    if doubt.kind == "changed":
        return Broken(doubt.text, kind="values", rank=rank)
    if doubt.kind == "garbled":
        return Broken(
            f"its channel to the harness carried {doubt.text}; no backend writes there", kind="channel", rank=rank
        )
    if doubt.text.startswith("dcp_conformance."):
        return Broken(f"{doubt.text} of the harness was replaced while it ran", kind="evidence", rank=rank)
    return Untestable(f"values are compared with {doubt.text}, and it was replaced, so no comparison proves anything")


def ended_by_itself(error: ExceptionRecord) -> Exception | None:
    """Return what `session.excuse` and `session.give_up` mean for the case; None for any other exception."""
    kind = _ENDINGS.get(error.type_name)
    return None if kind is None or of_subject(error) else kind(error.text)


def hang_finding(hung: Sequence[Hung]) -> Broken:
    """Return the finding for ranks that never answered, with the stack of each."""
    ranks = ", ".join(str(outcome.rank) for outcome in hung)
    phases = {outcome.rank: last_call(outcome) for outcome in hung}
    first = hung[0]
    state = "was stopped" if first.stopped else f"gave no answer for {first.waited:.0f} s"
    observed = f"rank {ranks} {state}; last seen in {phases[first.rank]}"
    stacks = {f"stack of rank {outcome.rank}": outcome.stack for outcome in hung}
    return Broken(observed, kind="hang", rank=first.rank, evidence=stacks)


def death_finding(outcome: Died) -> Broken:
    """Return the finding for a rank whose process ended."""
    how = f"by signal {outcome.signal}" if outcome.signal else f"with exit code {outcome.exit_code}"
    return Broken(
        f"its process ended {how} in {last_call(outcome)}",
        kind="death", rank=outcome.rank, evidence={"output": outcome.output},
    )  # fmt: skip


def unexpected(error: ExceptionRecord, rank: int, outcome: Outcome | None = None) -> Exception:
    """Return what an error that nobody asked for means: the backend's finding, or a fault of the scenario itself."""
    if not of_subject(error):
        return HarnessFault(f"the scenario failed on rank {rank}{_where(error)}: {described(error)}\n{error.traceback}")
    evidence = {"traceback": error.traceback}
    if outcome is not None and outcome.output:
        evidence["output"] = outcome.output
    return Broken(f"it raised {described(error)}", kind=f"raised {error.type_name}", rank=rank, evidence=evidence)


def _where(error: ExceptionRecord) -> str:
    """Return the line of a scenario that an error went through last."""
    ours = [(file, line, function) for file, line, function in error.frames if "/suites/" in file]
    return " at suites/{}:{}, in {}".format(ours[-1][0].rpartition("/suites/")[2], *ours[-1][1:]) if ours else ""


def of_subject(error: ExceptionRecord) -> bool:
    """Tell whether an error came out of the code under test."""
    return error.type_name == _GARBAGE or any(
        file.endswith(door) and function == name for file, _, function in error.frames for door, name in _DOORS
    )  # fmt: skip


def described(error: ExceptionRecord) -> str:
    """Return an exception as a reader needs it: its class, its first line, and what each failing rank raised."""
    if error.failures:
        inner = "; ".join(f"{rank}: {described(cause)}" for rank, cause in sorted(error.failures.items()))
        return f"{error.type_name}{{{inner}}}"
    lines = error.text.strip().splitlines()
    return f"{error.type_name}: {lines[0][:200]}" if lines else f"{error.type_name} without a text"


def last_call(outcome: Outcome) -> str:
    """Return the last interface call that a rank was seen to make."""
    calls = [event.data["name"] for event in outcome.events if event.kind == "call"]
    return f"{calls[-1]}()" if calls else "no call of the backend"


def must_match(per_rank: Iterable[Sequence[Difference]], what: str = "the loaded state") -> None:
    """Broken unless every rank's list of differences is empty."""
    for rank, found in enumerate(per_rank):
        if found:
            raise Broken(
                f"{what} differs: {found[0].sentence()}", kind="values", rank=rank,
                evidence={"differences": "\n".join(item.sentence() for item in found)},
            )  # fmt: skip


def must(condition: bool, *, otherwise: str, kind: str = "observation", rank: int | None = None) -> None:
    """Judge that `condition` is true; `otherwise` is half a sentence about what was observed instead."""
    if not condition:
        raise Broken(otherwise, kind=kind, rank=rank)


def needs_reached(outcomes: Sequence[Outcome], phase: str, ranks: Iterable[int]) -> None:
    """Untestable unless the fault in `phase` was seen to be reached on each of `ranks`."""
    for rank in ranks:
        if not any(event.kind == "fault" and event.data["phase"] == phase for event in outcomes[rank].events):
            raise Untestable(
                f"the fault in {phase} was never reached on rank {rank}, so nothing follows from the outcome"
            )


def must_refuse(attempt: Attempt, what: str, *, rank: int) -> ExceptionRecord:
    """Broken unless an attempt raised; an error of the scenario itself is a harness fault."""
    if attempt.error is None:
        raise Broken(f"{what} returned as if nothing had happened", kind="not refused", rank=rank)
    if not of_subject(attempt.error):
        raise unexpected(attempt.error, rank)
    return attempt.error


def must_succeed(attempt: Attempt, what: str, *, rank: int) -> None:
    """Broken if an attempt raised; an error of the scenario itself is a harness fault."""
    if attempt.error is not None:
        error = unexpected(attempt.error, rank)
        if isinstance(error, Broken):
            raise Broken(f"{what}: {error.observed}", kind=error.kind, rank=rank, evidence=error.evidence)
        raise error


def must_name(attempt: Attempt, words: Iterable[str], what: str, *, rank: int) -> ExceptionRecord:
    """Broken unless an attempt raised, and its error or one that it carries has each of `words` in its text."""
    error = must_refuse(attempt, what, rank=rank)
    unsaid = [word for word in words if not mentions(error, word)]
    if unsaid:
        raise Broken(
            f"{what} raised {described(error)}, which does not name {' and '.join(map(repr, unsaid))}",
            kind="not named", rank=rank, evidence={"traceback": error.traceback},
        )  # fmt: skip
    return error


def mentions(error: ExceptionRecord, word: str) -> bool:
    """Tell whether an error, a failure that it carries or its cause has `word` in its text."""
    inner = [*(error.failures or {}).values(), *([error.cause] if error.cause is not None else [])]
    return word in error.text or any(mentions(item, word) for item in inner)
