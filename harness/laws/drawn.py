"""What ranks report of a drawn round trip, as plain data; which law broke decides the clause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dcp_conformance.harness.laws.observations import Attempt, Difference

# The laws of a round trip, by the names that trips give them.
LAWS = {
    "tensor": "load after save gives every ordinary tensor as it was",
    "exotic": "load after save gives every complex, float8 and wide unsigned tensor as it was",
    "object": "load after save gives every object as it was",
    "old": "nothing of an earlier state of the id comes back",
    "input": "a save never changes its input",
    "place": "a load writes into the memory of its targets, and nowhere else",
    "unasked": "a load gives what was asked for and no more",
    "own": "load after save gives what a single rank had",
    "stored": "a background save stores what an ordinary save stores",
    "cut off": "a background save stores the values at the time of the call",
    "overlap": "saves that overlap never exchange data",
    "again": "what a stager is used for later leaves what it staged before alone",
    "last": "each id gives what was saved there last, whatever was done before",
    "retry": "after a save that failed the next one to the same id succeeds",
    "outdated": "a save does not rely on a view of the store from before the checkpoint was deleted",
    "other id": "what was done under one id leaves the others alone",
}


@dataclass(frozen=True)
class Trip:
    """How one combination went on one rank."""

    row: dict[str, str]
    #: Where it ended; "" for the end of the way.
    step: str
    #: How that step did.
    ended: Attempt | None
    #: (Law, difference) pairs.
    found: Sequence[tuple[str, Difference]] = field(default_factory=tuple)
    #: The law that an error of a step is counted under.
    main: str = "tensor"

    @property
    def laws(self) -> set[str]:
        """The laws that were seen broken; an error breaks the law of the main entry."""
        raised = {self.main} if self.ended is not None and self.ended.error is not None else set[str]()
        return raised | {law for law, _difference in self.found}


def broken(trip: Trip) -> bool:
    """Tell whether any law was."""
    return bool(trip.laws)
