"""Ranks played by a test: what each pair of storage and engine does is said in a table, nothing is run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dcp_conformance.harness.cluster import Event, Outcome, Returned
from dcp_conformance.harness.contract import Clause, Strength
from dcp_conformance.harness.laws.verbs import Broken
from dcp_conformance.harness.subject.spec import TORCH_ENGINE, Part, SubjectSpec
from dcp_conformance.harness.subject.subject import Subject
from dcp_conformance.harness.verdicts.judge import Judge
from dcp_conformance.harness.verdicts.ownership import Applicability
from dcp_conformance.harness.verdicts.trials import Bench
from dcp_conformance.harness.verdicts.verdict import CaseOutcome

OWNED = Applicability("owned")


class PlayedRanks:
    """Answers each run with a value: whether the pair under test is `broken`, and events that say who was called."""

    def __init__(
        self, broken: Callable[[SubjectSpec], bool], calls: Callable[[SubjectSpec], list[dict[str, Any]]]
    ) -> None:
        self._broken, self._calls = broken, calls
        self.pairs: list[tuple[str, str]] = []

    def run(
        self, world_size: int, function: str, *args: Any, timeout: float | None = None, group: bool | None = None
    ) -> list[Outcome]:
        spec = args[0]
        self.pairs.append((spec.storage.reference, spec.engine.reference))
        events = tuple(Event("call", call, 0.0) for call in self._calls(spec))
        return [Returned(rank=0, events=events, value=self._broken(spec))]


def storage_calls(spec: SubjectSpec) -> list[dict[str, Any]]:
    """A save that reached write_data of whoever is the storage."""
    return [{"owner": spec.owner(spec.storage), "part": "S", "name": "write_data"}]


def judged(
    ranks: PlayedRanks,
    *,
    letters: str = "S",
    applies: str = "S",
    second: str | None = "second",
    below_storage: bool = False,
    functions: tuple[str, ...] = ("save", "load", "async_save"),
    engines: bool = False,
    played: Callable[[Subject], None] | None = None,
) -> CaseOutcome:
    """The outcome of one case of one clause on these ranks, for a backend that owns `letters`.

    engines: the clause is in the engine's column; played: the body of the case in place of `body`.
    """
    own = Part(reference="mine")
    bench = Bench(
        backend=own, letters=frozenset(letters), engine=own if "E" in letters else Part(reference=TORCH_ENGINE),
        second=Part(reference=second) if second else None, scratch="/scratch", folder="/", worker="main",
        command=("dcp-conformance", "mine"), functions=frozenset(functions),
    )  # fmt: skip
    binding = Applicability("engine", "for a reason") if engines else OWNED
    [outcome] = Judge(bench, ranks).judge(
        "a case", {clause(applies): binding}, played or body, below_storage=below_storage
    )
    return outcome


def bench_judge(second: str | None = None) -> Judge:
    """A judge of a sound storage under torch's engine."""
    bench = Bench(
        backend=Part(reference="mine"), letters=frozenset("S"), engine=Part(reference=TORCH_ENGINE),
        second=None if second is None else Part(reference=second),
        scratch="/scratch", folder="/", worker="main", command=("dcp-conformance", "mine"),
    )  # fmt: skip
    return Judge(bench, PlayedRanks(lambda spec: False, storage_calls))


def clause(applies: str = "S") -> Clause:
    return Clause(
        id="TEST-01",
        strength=Strength.MUST,
        applies=frozenset(applies),
        world=1,
        level="core",
        promise="It works.",
        source="here",
    )


def body(subject: Subject) -> None:
    [outcome] = subject.run(1, "played:scenario")
    assert isinstance(outcome, Returned)
    if outcome.value:
        raise Broken("it does not work", kind="values", rank=0)
