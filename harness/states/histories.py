"""Histories: what is done to three ids one after the other, drawn at random.

A history is plain data and says nothing of how it ended; `harness.subject.played_history` plays it on ranks against a
dictionary of what each id must hold. Each kind of step stands for bugs that need something before or after them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

# Ids of a history: the second begins with the name of the first.
PLACES = 3
# States differ by their number: other keys, sizes, dtypes and lengths of texts; see `history_states`.
VERSIONS = 11
# How often each kind of step is drawn, and what it stands for:
#   save        the next state, by new objects or by those of the step before: what a writer remembers
#   load, part  whole or every other key: what a reader remembers, and negative answers
#   fail        a save that fails in a phase: what it leaves behind, and whom it takes with it
#   delete      the backend's own discard: what others still need
ORDINARY = ("save", "save", "load", "part", "fail", "delete")
# A save in the background that goes on during the steps that follow, up to the next one at its id.
BACKGROUND = (*ORDINARY, "background", "background")
PHASES = ("write_data", "finish", "prepare_local_plan", "prepare_global_plan")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a history."""

    #: A kind of step.
    do: str
    #: Which of the ids.
    place: int
    #: Number of the state, of steps that save.
    version: int = 0
    #: "same": by the writer or reader of the earlier steps; of a failing save: its phase.
    how: str = "new"

    def __str__(self) -> str:
        name = f"id {'ABC'[self.place]}"
        said = {
            "save": f"save state {self.version} to {name}",
            "background": f"save state {self.version} to {name} in the background",
            "fail": f"a save of state {self.version} to {name} that fails in {self.how}",
            "load": f"load {name}",
            "part": f"load a part of {name}",
            "delete": f"delete {name}",
        }[self.do]
        return f"{said} (same objects)" if self.how == "same" else said


def sentence(history: Sequence[Step]) -> str:
    """A history in words."""
    return ", ".join(map(str, history))


def history(kinds: Sequence[str], *, longest: int, draw: random.Random) -> list[Step]:
    """Draw a history of these kinds of steps.

    Evenly, by a plain generator: Hypothesis, which looks for small and for repeated examples, drew 40 of up to 30 steps
    without one in which an id was saved, deleted and saved again by the same writer.
    """
    return [_step(draw.choice(kinds), draw) for _ in range(draw.randint(3, longest))]


def _step(kind: str, draw: random.Random) -> Step:
    saves = kind in ("save", "fail", "background")
    hows = {"fail": PHASES, "delete": ("new",), "background": ("new",)}.get(kind, ("new", "same"))
    version = draw.randint(1, VERSIONS) if saves else 0
    return Step(do=kind, place=draw.randrange(PLACES), version=version, how=draw.choice(hows))
