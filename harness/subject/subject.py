"""The subject as a test sees it: run a scenario on ranks, and say which promise a law is about."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from dcp_conformance.harness.cluster import Event, Hung, Outcome
from dcp_conformance.harness.laws.observations import Cell, Table
from dcp_conformance.harness.laws.verbs import Broken, HarnessFault, NotApplicable, Untestable
from dcp_conformance.harness.subject.spec import SubjectSpec


class RunOnRanks(Protocol):
    """The part of a cluster that a subject needs."""

    def run(
        self,
        world_size: int,
        function: str,
        *args: Any,
        timeout: float | None = None,
        group: bool | None = None,
        fresh: bool = False,
    ) -> list[Outcome]:
        """Run a function on ranks; see harness.cluster.Cluster.run."""


class scenarios:  # noqa: N801 (reads as a verb where it is used)
    """The functions of a module by name, without importing it: ranks need torch, the pytest process does not.

    `on_ranks = scenarios("suites.core.values.on_ranks_values")`, then `on_ranks.round_trip` is
    "dcp_conformance.suites.core.values.on_ranks_values:round_trip".
    """

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, function: str) -> str:
        if function.startswith("_"):
            raise AttributeError(function)
        return f"{self._module}:{function}"


def _may_be_of_the_scenario(leftover: str) -> bool:
    """Whether a scenario on ranks of its own may have left this behind, and not the backend.

    Device meshes leave threads, sockets and groups; they start no process and keep no file open. A recording has a
    process of ours beside the rank. The sentences are those of harness.cluster.fingerprint and harness.cluster.world.
    """
    is_process = (
        leftover.startswith(("The child process ", "The process ")) and "from dcp_conformance.harness." not in leftover
    )
    is_file = leftover.startswith("/") and " is still open" in leftover
    return not is_process and not is_file


class Subject:
    """One storage under one engine, during one trial of one case.

    findings: clause id -> what was found; a clause that was settled without one kept its promise.
    """

    def __init__(
        self,
        ranks: RunOnRanks,
        spec: SubjectSpec,
        clauses: tuple[str, ...],
        *,
        refusal: Callable[[int], str] = lambda world_size: "",
    ) -> None:
        """`refusal`: why a scenario is not run on so many ranks, or nothing."""
        self._ranks, self._spec, self._clauses, self._refusal = ranks, spec, clauses, refusal
        self.findings: dict[str, Exception] = {}
        self.settled: set[str] = set()
        self.events: list[Event] = []
        self.leftovers: list[str] = []
        self.tables: list[Table] = []
        self.hung: set[int] = set()

    def run(
        self,
        world_size: int,
        scenario: str,
        *args: Any,
        timeout: float | None = None,
        group: bool | None = None,
        fresh: bool = False,
    ) -> list[Outcome]:
        """Run `scenario(session, *args)` on `world_size` ranks and return one outcome a rank.

        scenario: `module:function`, see `scenarios`. timeout: seconds, for the whole call. group: join a process group
        (default: for more than one rank). fresh: on ranks of its own, for a scenario that makes device meshes: torch
        keeps the names of their groups in caches, and their threads, so such ranks serve no other scenario.
        """
        if refusal := self._refusal(world_size):
            raise Untestable(refusal)
        alone = {"fresh": True} if fresh else {}
        outcomes = self._ranks.run(
            world_size, "dcp_conformance.harness.subject.session:perform", self._spec, scenario, args,
            timeout=timeout, group=group, **alone,
        )  # fmt: skip
        for outcome in outcomes:
            self.events.extend(outcome.events)
            if isinstance(outcome, Hung):
                self.hung.add(world_size)
            left = [text for text in outcome.leftovers if not fresh or not _may_be_of_the_scenario(text)]
            self.leftovers.extend(f"rank {outcome.rank}: {text}" for text in left)
        return outcomes

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
        """Rows for the certificate, under a title that other cases may add rows to; no verdict comes of them."""
        self.tables.append(Table(title=title, columns=tuple(columns), rows=tuple(map(tuple, rows))))

    @contextlib.contextmanager
    def promise(self, clause: str) -> Iterator[None]:
        """What is judged inside is about `clause` alone; a finding is kept and the test goes on to its next promise."""
        if clause not in self._clauses:
            raise HarnessFault(f"the test judges {clause}, which its marker does not name")
        try:
            yield
        except (Broken, Untestable, NotApplicable) as finding:
            self.findings.setdefault(clause, finding)
        self.settled.add(clause)

    def settle(self, finding: Exception | None) -> None:
        """End of the trial: a finding outside every promise is about all clauses that were not settled."""
        for clause in self._clauses:
            if clause not in self.settled and finding is not None:
                self.findings[clause] = finding
