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
)
