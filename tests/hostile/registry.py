"""What each hostile backend is, what it is run on, and what its certificate must say of it."""

from __future__ import annotations

from dataclasses import dataclass

# How a run of a hostile backend may end. `lost`: the level is lost, the backend broke a MUST. `not held`: lost or not
# decided, where the evidence itself was attacked. `refused`: exit 4 and a sentence, before anything is judged.
ENDINGS = ("lost", "not held", "refused")


# The case that most of them are run on.
ONE_RANK = ("ordinary_dtype_comes_back_bit_for_bit[float32-constructor]",)


@dataclass(frozen=True, kw_only=True)
class Hostile:
    """One hostile backend.

    module: below tests/hostile, without `.py`, named `<kind>_<name>`. does: what it does, as half a sentence.
    clauses, cases: what it is run on; no cases means all of the clauses. says: what the output must contain. limit:
    seconds for its judgement. whole_run: with a run of its own, because it is about what a run does as a whole; the
    others are judged one after the other, see warm.py. often: also in `make test`; the others every night.
    """

    module: str
    does: str
    clauses: tuple[str, ...] = ("TYPE-02",)
    cases: tuple[str, ...] = ONE_RANK
    ending: str = "lost"
    says: str = ""
    options: tuple[str, ...] = ()
    limit: float = 60.0
    whole_run: bool = False
    often: bool = False


HOSTILE: tuple[Hostile, ...] = (
    Hostile(
        module="values_zeros_at_once",
        does="gives zeros for every tensor",
        says="elements differ",
    ),
    Hostile(
        module="evidence_replaces_compare",
        does="gives zeros and replaces the comparison",
        ending="lost",
        says="was replaced while it ran",
    ),
    Hostile(
        module="evidence_changes_code",
        does="gives zeros and puts other code into the comparison",
        ending="lost",
        says="was replaced while it ran",
    ),
    Hostile(
        module="evidence_replaces_unequal",
        does="gives zeros and makes tensors never differ",
        ending="not held",
    ),
    Hostile(
        module="evidence_zeroes_later",
        does="zeroes right values half a second after the load",
        ending="lost",
        says="and later",
    ),
    Hostile(
        module="records_forged",
        does="gives zeros and writes passes into the event files, which it finds in the judge's descriptors",
        says="not written by the judge of this run",
    ),
    Hostile(
        module="channel_garbage",
        does="writes garbage into every socket of its process",
        ending="lost",
        says="",
    ),
    Hostile(
        module="channel_forged_answer",
        does="answers the judge in the place of its scenario",
        ending="lost",
        says="",
    ),
    Hostile(
        module="store_in_memory",
        does="keeps its data in /dev/shm, and on the disk only where they lie",
        clauses=("DUR-02", "DUR-14"),
        cases=("crash_anywhere_in_a_save_to_a_new_id_leaves_all_or_nothing[1ranks]",),
        ending="not held",
        says="/dev/shm/",
        often=True,
    ),
)
