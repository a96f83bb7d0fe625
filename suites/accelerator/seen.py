"""What scenarios on devices saw, with the topology that they saw it in, and how tests judge it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.laws.verbs import must, must_match
from dcp_conformance.harness.subject.subject import Subject

TITLE = "Level accelerator: where each clause was checked"
COLUMNS = ("clause", "ranks", "devices", "kind", "process group")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one rank saw."""

    #: The rank's device, as `cuda:0`.
    device: str
    #: The backend of its default process group, or nothing.
    group: str
    #: Wrong values, in the order of keys.
    found: tuple[Difference, ...]
    #: Sentences about tensors, devices and streams that are not where they were, or are more than they should be.
    places: tuple[str, ...] = ()


def must_be_right(subject: Subject, clause: str, seen: Sequence[Seen], what: str = "the loaded state") -> None:
    """Put the topology on the certificate; Broken where a rank saw a wrong value or place."""
    tell_topology(subject, clause, seen)
    must_match([one.found for one in seen], what)
    for rank, one in enumerate(seen):
        must(not one.places, otherwise="; ".join(one.places), kind="place", rank=rank)


def tell_topology(subject: Subject, clause: str, seen: Sequence[Seen]) -> None:
    """A row for the certificate: on how many ranks and devices the clause was checked."""
    kinds = ", ".join(sorted({one.device.partition(":")[0] for one in seen}))
    group = seen[0].group or "none"
    subject.table(TITLE, COLUMNS, [(clause, len(seen), len({one.device for one in seen}), kinds, group)])
