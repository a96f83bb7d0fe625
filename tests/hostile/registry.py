"""What each hostile backend is, what it is run on, and what its certificate must say of it."""

from __future__ import annotations

from dataclasses import dataclass

# How a run of a hostile backend may end. `lost`: the level is lost, the backend broke a MUST. `not held`: lost or not
# decided, where the evidence itself was attacked. `refused`: exit 4 and a sentence, before anything is judged.
ENDINGS = ("lost", "not held", "refused")


@dataclass(frozen=True, kw_only=True)
class Hostile:
    """One hostile backend.

    module: below tests/hostile, without `.py`, named `<kind>_<name>`. does: what it does, as half a sentence.
    clauses: what it is run on. says: what the output must contain. limit: seconds for the whole run.
    """

    module: str
    does: str
    clauses: tuple[str, ...]
    level: str = "core"
    ending: str = "lost"
    says: str = ""
    options: tuple[str, ...] = ()
    limit: float = 120.0


HOSTILE: tuple[Hostile, ...] = (
    Hostile(
        module="values_zeros_at_once",
        does="gives zeros for every tensor",
        clauses=("TYPE-02",),
        says="elements differ",
    ),
    Hostile(
        module="evidence_replaces_compare",
        does="gives zeros and replaces the comparison",
        clauses=("TYPE-02",),
        ending="lost",
        says="was replaced while it ran",
    ),
    Hostile(
        module="evidence_changes_code",
        does="gives zeros and puts other code into the comparison",
        clauses=("TYPE-02",),
        ending="lost",
        says="was replaced while it ran",
    ),
    Hostile(
        module="evidence_replaces_unequal",
        does="gives zeros and makes tensors never differ",
        clauses=("TYPE-02",),
        ending="not held",
    ),
    Hostile(
        module="evidence_zeroes_later",
        does="zeroes right values half a second after the load",
        clauses=("TYPE-02",),
        ending="lost",
        says="and later",
    ),
    Hostile(
        module="records_forged",
        does="gives zeros and writes passes into the event files, which it finds in the judge's descriptors",
        clauses=("TYPE-02",),
        says="not written by the judge of this run",
    ),
    Hostile(
        module="channel_garbage",
        does="writes garbage into every socket of its process",
        clauses=("TYPE-02",),
        ending="lost",
        says="",
    ),
    Hostile(
        module="channel_forged_answer",
        does="answers the judge in the place of its scenario",
        clauses=("TYPE-02",),
        ending="lost",
        says="",
    ),
)
