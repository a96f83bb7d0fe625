"""The subject as a test sees it: run a scenario on ranks, and say which promise a law is about."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from typing_extensions import TypeVarTuple, Unpack

from dcp_conformance.harness.cluster import Event, Hung, Outcome
from dcp_conformance.harness.laws.observations import Cell, Table
from dcp_conformance.harness.laws.verbs import (
    Broken,
    HarnessFault,
    NotApplicable,
    Untestable,
    must_be_believable,
    must_have_gone_on,
    must_return,
)
from dcp_conformance.harness.subject.spec import SubjectSpec

if TYPE_CHECKING:
    from dcp_conformance.harness.subject.session import Session

T = TypeVar("T")
Args = TypeVarTuple("Args")


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
        quiet: float = 0.0,
    ) -> list[Outcome]:
        """Run a function on ranks; see harness.cluster.Cluster.run."""


class NamedModule:
    """A module of scenarios by name: its functions are the strings by which the cluster finds them."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __getattr__(self, function: str) -> str:
        # Python asks modules and objects for many underscore names (copying, pickling, inspection): none is a scenario.
        if function.startswith("_"):
            raise AttributeError(function)
        return f"{self.__name__}:{function}"


def module_on_ranks(module: str) -> Any:
    """Name the functions of a module without importing it: ranks need torch, the pytest process does not.

    A test module imports its scenarios where only the type checker looks, and names them where it runs::

        if TYPE_CHECKING:
            from dcp_conformance.suites.core.values import on_ranks_values as on_ranks
        else:
            on_ranks = module_on_ranks("dcp_conformance.suites.core.values.on_ranks_values")

    `on_ranks.round_trip` then is "dcp_conformance.suites.core.values.on_ranks_values:round_trip" for the cluster, and
    a function with arguments and a result for mypy.
    """
    return NamedModule(module)


def _may_be_of_the_scenario(leftover: str) -> bool:
    """Tell whether a scenario on ranks of its own may have left this behind, and not the backend.

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
    refusal: why a scenario is not run on so many ranks, or nothing.
    """

    def __init__(self, ranks: RunOnRanks, spec: SubjectSpec, clauses: tuple[str, ...]) -> None:
        self._ranks, self._spec, self._clauses = ranks, spec, clauses
        self.refusal: Callable[[int], str] = lambda world_size: ""
        self.findings: dict[str, Exception] = {}
        self.settled: set[str] = set()
        self.events: list[Event] = []
        self.leftovers: list[str] = []
        self.tables: list[Table] = []
        self.hung: set[int] = set()

    def observe(
        self,
        world_size: int,
        scenario: Callable[[Session, Unpack[Args]], T],
        *args: Unpack[Args],
        timeout: float | None = None,
        group: bool | None = None,
        fresh: bool = False,
    ) -> list[T]:
        """Run a scenario as `run` does, and return what each rank observed, in rank order.

        Raises Broken where a rank raised, died or hung instead of returning.
        """
        values: list[T] = must_return(self.run(world_size, scenario, *args, timeout=timeout, group=group, fresh=fresh))
        return values

    def alone(
        self,
        scenario: Callable[[Session, Unpack[Args]], T],
        *args: Unpack[Args],
        timeout: float | None = None,
        group: bool | None = None,
        fresh: bool = False,
    ) -> T:
        """Run a scenario on one rank and return what it observed; see `observe`."""
        [value] = self.observe(1, scenario, *args, timeout=timeout, group=group, fresh=fresh)
        return value

    def needs(self, capability: str) -> None:
        """Excuse the backend from what this test asks where it opted out of a capability. Raises NotApplicable."""
        if reason := self.lacks(capability):
            raise NotApplicable(f"it opted out of {capability}: {reason}")

    def lacks(self, capability: str) -> str:
        """Return the backend's reason for not having a capability; an empty string where it has it."""
        asked = "dcp_conformance.harness.subject.session:opted_out"
        [reason] = must_return(self._ranks.run(1, asked, self._spec, capability))
        return reason or ""

    def run(
        self,
        world_size: int,
        scenario: Callable[[Session, Unpack[Args]], Any],
        *args: Unpack[Args],
        timeout: float | None = None,
        group: bool | None = None,
        fresh: bool = False,
        quiet: float = 0.0,
    ) -> list[Outcome]:
        """Run `scenario(session, *args)` on `world_size` ranks and return one outcome a rank, whatever became of it.

        scenario: a function of a module on ranks; here it is only a name, see `module_on_ranks`. timeout: seconds, for
        the whole call. group: join a process group (default: for more than one rank). fresh: on ranks of
        its own, for a scenario that makes device meshes: torch keeps the names of their groups in caches, and their
        threads, so such ranks serve no other scenario. quiet: seconds that it may rightly wait without a sign of life.
        """
        # Untestable, and no failure: that time is up says nothing about this clause.
        if refusal := self.refusal(world_size):
            raise Untestable(refusal)
        alone: dict[str, Any] = {**({"fresh": True} if fresh else {}), **({"quiet": quiet} if quiet else {})}
        outcomes = self._ranks.run(
            world_size, "dcp_conformance.harness.subject.session:perform", self._spec, scenario, args,
            timeout=timeout, group=group, **alone,
        )  # fmt: skip
        for outcome in outcomes:
            if isinstance(outcome, Hung):
                self.hung.add(world_size)
            left = [text for text in outcome.leftovers if not fresh or not _may_be_of_the_scenario(text)]
            self.leftovers.extend(f"rank {outcome.rank}: {text}" for text in left)
        # Before the events are kept: what a rank that cannot be believed said of its use is no evidence.
        must_be_believable(outcomes)
        for outcome in outcomes:
            self.events.extend(outcome.events)
        # After the events: a scenario that ended itself has made checkpoints too, and they are to be discarded.
        must_have_gone_on(outcomes)
        return outcomes

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
        """Rows for the certificate, under a title that other cases may add rows to; no verdict comes of them."""
        self.tables.append(Table(title=title, columns=tuple(columns), rows=tuple(map(tuple, rows))))

    @contextlib.contextmanager
    def promise(self, clause: str) -> Iterator[None]:
        """Judge `clause` alone inside: a finding is kept, and the test goes on to its next promise."""
        if clause not in self._clauses:
            # A verdict for a clause that the run did not select would be counted nowhere.
            raise HarnessFault(f"the test judges {clause}, which its marker does not name")
        try:
            yield
        except (Broken, Untestable, NotApplicable) as finding:
            # The first finding of a promise is the cause; later ones in the same case often follow from it.
            self.findings.setdefault(clause, finding)
        self.settled.add(clause)

    def settle(self, finding: Exception | None) -> None:
        """End of the trial: a finding outside every promise is about all clauses that were not settled."""
        for clause in self._clauses:
            # A promise that was settled before the test stopped keeps its own verdict.
            if clause not in self.settled and finding is not None:
                self.findings[clause] = finding
