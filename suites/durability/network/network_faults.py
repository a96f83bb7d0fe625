"""One save after the other, each of which meets a fault of the network at another of its requests; and the laws."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dcp_conformance.harness.cluster import Died, Hung, Outcome, Raised
from dcp_conformance.harness.faults.network import KINDS, STAGED, NetworkFault, NetworkProxy, Request
from dcp_conformance.harness.laws.observations import Attempt
from dcp_conformance.harness.laws.verbs import Broken, Untestable, described, of_subject, unexpected
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks
from dcp_conformance.suites.durability.network.sightings import Left, Loaded

if TYPE_CHECKING:
    from dcp_conformance.suites.durability.network import on_ranks_network as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.durability.network.on_ranks_network")

OLD, NEW = 1, 2
# Seconds that a save may take under a fault, before patience: the promise of DUR-16.
BOUND = 60.0
# Seconds after which no further request of a case is failed: clients that retry for a minute must not cost an hour.
BUDGET = 45.0
TABLE = "Network faults"
COLUMNS = ("save", "fault", "request", "of", "which", "save ended", "after seconds", "then loads")


@dataclass(frozen=True, kw_only=True)
class Point:
    """One save that met a fault: at which request, how it ended, what loads afterwards, and what lies there later."""

    situation: str
    kind: str
    number: int
    of: int
    request: Request
    ended: Outcome
    seconds: float
    loaded: Loaded
    left: Left | None = None
    clean: Left | None = None

    @property
    def attempt(self) -> Attempt | None:
        """How the call of save ended; None where its process died or it never returned."""
        value = getattr(self.ended, "value", None)
        return value if isinstance(value, Attempt) else None

    @property
    def found(self) -> dict[str, Any]:
        """What loads, as the laws of harness.laws.versions take it."""
        versions = (NEW,) if self.situation == "new" else (OLD, NEW)
        return {"attempt": self.loaded.attempt, "unlike": {each: self.loaded.unlike[each] for each in versions}}

    def where(self) -> str:
        """The fault in words, with the save's end."""
        return f"{self.request} (request {self.number} of {self.of}): {KINDS[self.kind]}; save {self.how()}"

    def how(self) -> str:
        """How the save ended, in words."""
        if isinstance(self.ended, Died):
            signal, code = self.ended.signal, self.ended.exit_code
            return f"ended its process by {f'signal {signal}' if signal is not None else f'exit code {code}'}"
        if self.attempt is None:
            return "did not end"
        error = self.attempt.error
        return "returned" if error is None else f"raised {described(error)}"

    def loads(self) -> str:
        """What loads: old, new, error or mixture."""
        if not self.loaded.attempt.ok:
            return "error"
        return next((name for name, each in (("new", NEW), ("old", OLD)) if not self.loaded.unlike[each]), "mixture")


def points(subject: Subject, situation: str, kind: str, *, again: bool = False, most: int = 0) -> list[Point]:
    """Save once to see the requests, then fail one after the other, the last first: it is the one that commits.

    situation: "new" or "overwrite"; again: save over what each point left, and look; most: how many points at most.
    """
    with NetworkProxy(subject.alone(on_ranks.store_address)) as proxy:
        total = len(_requests(subject, proxy, situation))
        numbers = list(range(total, 0, -1))[: most or None]
        names = {number: f"{situation}-{number}" for number in numbers}
        if situation == "overwrite":
            subject.alone(on_ranks.save_directly, tuple(names.values()), OLD)
        met = _met(subject, proxy, kind, names)
    reached = [number for number in numbers if number in met]
    if not reached:
        raise Untestable("no save sent the request that was to fail")
    loaded = subject.alone(on_ranks.what_loads, tuple(names[number] for number in reached))
    left: list[Left | None] = [None] * (len(reached) + 1)
    if again:
        found = subject.alone(on_ranks.save_again, tuple(names[number] for number in reached), "clean")
        left = list(found)
    made = [
        Point(
            situation=situation, kind=kind, number=number, of=total, request=met[number][0], ended=met[number][1],
            seconds=met[number][2], loaded=loaded[place], left=left[place + 1], clean=left[0],
        )
        for place, number in enumerate(reached)
    ]  # fmt: skip
    _report(subject, made, len(numbers) - len(reached))
    return made


def survived_and_told(made: Sequence[Point]) -> None:
    """DUR-15."""
    for point in made:
        if isinstance(point.ended, Died):
            raise Broken(f"{point.where()}", kind="died", rank=0, evidence={"output": point.ended.output})
        if isinstance(point.ended, Raised):
            raise unexpected(point.ended.error, 0)
        attempt = point.attempt
        if attempt is None:
            continue  # DUR-16 judges what never ends
        if attempt.error is not None and not of_subject(attempt.error):
            raise unexpected(attempt.error, 0)
        if attempt.ok and point.loads() != "new":
            then = point.loaded.attempt
            why = described(then.error) if then.error is not None else point.loaded.unlike[NEW][0]
            raise Broken(f"{point.where()}, and what it saved does not load: {why}", kind="not reported", rank=0)


def ended_in_time(made: Sequence[Point]) -> None:
    """DUR-16. The cluster ends a save at its bound, times the backend's patience, and calls that a hang."""
    for point in made:
        if isinstance(point.ended, Hung):
            raise Broken(f"{point.where()} within {point.ended.waited:.0f} s", kind="slow", rank=0)


def left_nothing(made: Sequence[Point]) -> None:
    """DUR-17."""
    for point in made:
        assert point.left is not None and point.clean is not None, "asked of points that were saved again"
        if point.left.uploads:
            names = ", ".join(point.left.uploads)
            raise Broken(f"{point.where()}, and after the next save the upload of {names} is still open", kind="left")
        if point.left.objects > point.clean.objects:
            more = point.left.objects - point.clean.objects
            raise Broken(f"{point.where()}, and after the next save {more} objects more lie there", kind="left")


def repeated_the_store(made: Sequence[Point], words: Sequence[str]) -> None:
    """DUR-18. words: any of them is enough."""
    for point in made:
        if point.attempt is None or point.attempt.error is None:
            continue
        text = f"{point.attempt.error.type_name} {point.attempt.error.text} {point.attempt.error.traceback}"
        if not any(word.lower() in text.lower() for word in (*words, STAGED)):
            raise Broken(f"{point.where()}, which has nothing of {', '.join(words)} in it", kind="opaque", rank=0)


def _requests(subject: Subject, proxy: NetworkProxy, situation: str) -> tuple[Request, ...]:
    name = f"{situation}-seen"
    if situation == "overwrite":
        subject.alone(on_ranks.save_directly, (name,), OLD)
    proxy.arm(None)
    attempt = subject.alone(on_ranks.save_through, name, proxy.address, fresh=True)
    if attempt.error is not None:
        raise Untestable(f"a save through the proxy raised while the network worked: {described(attempt.error)}")
    if not proxy.requests:
        raise Untestable("a save sent no request through the proxy: its client does not go where the environment says")
    return proxy.requests


def _met(
    subject: Subject, proxy: NetworkProxy, kind: str, names: dict[int, str]
) -> dict[int, tuple[Request, Outcome, float]]:
    """For each number of a request that was reached: the request, how the save ended, and after how many seconds."""
    met, began = {}, time.monotonic()
    for number, name in names.items():
        proxy.arm(NetworkFault(kind=kind, number=number))
        start = time.monotonic()
        [ended] = subject.run(
            1, on_ranks.save_through, name, proxy.address, fresh=True, timeout=BOUND, quiet=BOUND + 5
        )  # fmt: skip
        hit = proxy.hit
        if hit is not None:
            met[number] = (hit, ended, getattr(getattr(ended, "value", None), "seconds", time.monotonic() - start))
        if time.monotonic() - began > BUDGET:
            break
    return met


def _report(subject: Subject, made: Sequence[Point], missed: int) -> None:
    rows: list[tuple[str | int, ...]] = [
        (
            point.situation, point.kind, point.number, point.of, str(point.request), point.how()[:80],
            f"{point.seconds:.1f}", point.loads(),
        )
        for point in made
    ]  # fmt: skip
    if missed:
        rows.append(
            (made[0].situation, made[0].kind, 0, made[0].of, f"{missed} more: not reached, or no time left", "", "", "")
        )
    subject.table(TABLE, COLUMNS, rows)
