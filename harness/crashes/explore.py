"""From a situation to everything that a crash may leave of its save, and what a load makes of each state.

The save is recorded once (with several ranks: once for each rank held back), its states are rebuilt and loaded in
batches on a warm rank. What of it is lawful is said in harness.crashes.laws.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dcp_conformance.harness.cluster import Died, Event, Hung, Outcome, Returned
from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.laws.verbs import HarnessFault, NotApplicable, Untestable, must_return
from dcp_conformance.harness.recording.operations import Recording
from dcp_conformance.harness.replay import states
from dcp_conformance.harness.replay.states import State, Window
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks
from dcp_conformance.harness.subject.trusted import observed, recording

if TYPE_CHECKING:
    from dcp_conformance.harness.crashes import on_ranks as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.harness.crashes.on_ranks")

OLD, NEW = 1, 2
KINDS = ("OLD", "NEW", "ERROR", "SILENT", "HANG")
TABLE = "What loads after a crash (kill, or power cut on a journalled or a strict file system), by state"
COLUMNS = ("ranks", "model", *KINDS, "once returned", "states", "distinct", "loaded")
MODELS = ("kill", "journal", "strict")
# Loaded for one situation at most, and so many seconds long: first what must be right once save has returned, then
# what kills leave (after changes of names, then after writes), then what power cuts leave.
MOST_TREES, MOST_SECONDS = 300, 10.0
_BATCH = 64
_MOST_REMAINS = 8
# So many of the states that load are loaded again while it is watched where the values come from.
_MOST_WATCHED, _WATCHED_SECONDS = 16, 3.0
# A backend that hangs or dies in a load is asked so often; each time costs a rank, and a hang its time-out.
_MOST_LOST = 2


@dataclass(frozen=True)
class Situation:
    """One save to be cut, of some ranks, to a new id or over a checkpoint."""

    #: How many save.
    ranks: int = 1
    #: How many ranks had saved the checkpoint that is replaced; 0 for a new id.
    before: int = 0
    #: The settings of this save, by number among those which the backend offers.
    options: int = 0
    #: The settings of the save before, likewise.
    old_options: int = 0
    #: The settings in words.
    said: str = ""
    #: Also read the metadata of each state.
    metadata: bool = False

    @property
    def name(self) -> str:
        """How tables call it: `new, 1` or `4 over 1`, and the settings."""
        ranks = f"{self.ranks} over {self.before}" if self.before else f"{self.ranks}, new id"
        return f"{ranks}, {self.said}" if self.said else ranks

    @property
    def versions(self) -> tuple[int, ...]:
        """What may load."""
        return (OLD, NEW) if self.before else (NEW,)


@dataclass(frozen=True)
class Loaded:
    """What a load of one tree gave: one of KINDS, what there is to say of it, and what its metadata were."""

    kind: str
    said: str = ""
    metadata: str = "none"
    mixed: bool = False  # what was loaded is made of the old and the new version


@dataclass
class Exploration:
    """All states of one situation by model, and what the loads of their trees gave."""

    situation: Situation
    recordings: list[Recording]
    path: str  # of the first recording; what is kept of a counter-example lies beside it
    by_model: dict[str, list[State]] = field(default_factory=dict)
    results: dict[Any, Loaded] = field(default_factory=dict)

    def judged(self, *models: str) -> Iterable[tuple[State, Loaded]]:
        """Return the states that were loaded, of these models, those with the fewest operations first."""
        found = [
            (state, self.results[key(state)])
            for model in models
            for state in self.by_model[model]
            if key(state) in self.results
        ]
        return sorted(
            found, key=lambda pair: (sum(pair[0].done), len(pair[0].lost) if pair[0].lost != "nothing" else 0)
        )

    def rows(self) -> list[tuple[str | int, ...]]:
        """Return one row for each model, under COLUMNS."""
        return [self._row(model) for model in MODELS]

    def _row(self, model: str) -> tuple[str | int, ...]:
        found = self.by_model[model]
        trees = {key(state) for state in found}
        kinds = Counter(self.results[tree].kind for tree in trees if tree in self.results)
        # Counted by state, since one tree may be left both before and after the return, and only then breaks the
        # promise.
        late = Counter(
            self.results[key(state)].kind for state in found if state.returned and key(state) in self.results
        )
        once = ", ".join(f"{late[kind]} {kind}" for kind in KINDS if late[kind])
        loaded = sum(kinds.values())
        return (self.situation.name, model, *(kinds[kind] for kind in KINDS), once, len(found), len(trees), loaded)


def key(state: State) -> Any:
    """Return what two states have in common that a load cannot tell apart."""
    # Only the tree: which operations led to it, and what was lost, no load can see.
    return frozenset(state.tree.items())


def explore(
    subject: Subject, situation: Situation, *, most: int = MOST_TREES, finish_only: bool = False
) -> Exploration:
    """Record the save of a situation, load what crashes may leave of it, and note the table on the certificate.

    finish_only: only kills, from the call of finish on. Untestable where it cannot be recorded faithfully.
    """
    found = recorded(subject, situation)
    make_states(found, finish_only=finish_only)
    load_all(subject, found, most=most)
    from_its_files(subject, found)
    if not finish_only:
        subject.table(TABLE, COLUMNS, found.rows())
    return found


def from_its_files(subject: Subject, found: Exploration) -> None:
    """Untestable where a load of a state reads what no crash would leave: memory, sockets, files that lie elsewhere."""
    states = [state for state, loaded in found.judged(*reversed(MODELS)) if loaded.kind in ("OLD", "NEW")]
    # Evenly, from what misses most to what misses nothing.
    # A store that answers from memory gives itself away where the files alone could not have answered.
    states.sort(key=lambda state: sum(len(item) for item in state.tree.values() if isinstance(item, bytes)))
    chosen = dict(enumerate(states[:: max(1, len(states) // _MOST_WATCHED)]))
    arguments = (_place(found.situation), found.situation.versions, {n: s.tree for n, s in chosen.items()})
    # On fresh ranks: the filter that watches can never be taken off a process again.
    elsewhere = subject.alone(on_ranks.load_watched, *arguments, _WATCHED_SECONDS, fresh=True)
    if elsewhere:
        number, said = elsewhere[0]
        raise Untestable(f"{said} ({chosen[number].sentence()})")


def confirm(subject: Subject, situation: Situation, state: State) -> Loaded:
    """Load one state on a rank that never loaded anything, so that nothing kept in memory can mislead."""
    [found] = _loads(subject, situation, {0: state}, seconds=MOST_SECONDS, fresh=True).values()
    return found


def remains(subject: Subject, situation: Situation) -> list[tuple[str, Attempt, Attempt, list[Difference]]]:
    """Save and load once more in states without a checkpoint that the death of all ranks leaves.

    Returns how each was cut, how the next save to the id and a load of it went, and the differences that this load
    gave: for some of all states, those after a change of names first.
    """
    found = recorded(subject, situation)
    make_states(found, finish_only=True)  # by kills; from the beginning of finish on, where locks and names are made
    early = [state for state in states.killed(found.recordings[0]) if state.tree != found.recordings[0].before]
    chosen = _chosen([*early[:: max(1, len(early) // _MOST_REMAINS)], *found.by_model["kill"]], 2 * _MOST_REMAINS)
    trees = {number: state.tree for number, state in enumerate(chosen)}
    went = subject.alone(on_ranks.save_upon, _place(situation), trees, MOST_SECONDS, timeout=3 * MOST_SECONDS)
    return [(chosen[number].sentence(), cut, load, unlike) for number, cut, load, unlike in went]


def needs(subject: Subject, *capabilities: str) -> None:
    """NotApplicable where the backend opted out of one of them."""
    reason = subject.alone(on_ranks.why_not, ("local_files", *capabilities))
    if reason:
        raise NotApplicable(f"it opted out of {reason}")


def recorded(subject: Subject, situation: Situation) -> Exploration:
    """Record a situation; with several ranks, once with each of them held back when it is about to write."""
    place = _place(situation)
    recordings: list[Recording] = []
    if max(situation.ranks, situation.before) > 1:
        subject.needs("resharding")  # one process loads what is left; without it that fails in any case
    if situation.before:
        subject.observe(situation.before, on_ranks.save_old, place, situation.old_options)
    for late in range(situation.ranks) if situation.ranks > 1 else [None]:
        if recordings:  # each starts from the same tree, in the same place
            subject.observe(1, on_ranks.restore, place, recordings[0].before)
        # The place is the same for all recordings: a backend may store absolute paths, and states are loaded where they
        # were made.
        arguments = (place, f"{place}-{len(recordings)}", situation.options, late)
        path = observed(subject.run(situation.ranks, on_ranks.record_save, *arguments, fresh=True))[0]
        recordings.append(recording(subject, path))
    return Exploration(situation, recordings, path)


def _place(situation: Situation) -> str:
    over = f"-over-{situation.before}-{situation.old_options}" if situation.before else ""
    return f"crash-{situation.ranks}-{situation.options}{over}"


def make_states(found: Exploration, *, finish_only: bool = False) -> None:
    """Make all states of a situation, by model."""
    kills: list[State] = []
    power: dict[bool, list[State]] = {True: [], False: []}
    for number, item in enumerate(found.recordings):
        back = _returned(item, found.situation.ranks)
        # Told by the tap on the storage; an engine with a store of its own passes no tap, so its finish cannot be seen.
        begun = _mark(item, "finish began on rank") if finish_only else 0
        if begun is None and _mark(item, "write_data began on rank") is None:
            raise NotApplicable("its engine has a store of its own, whose commit nobody outside can tell from the rest")
        if begun is None:
            raise Untestable("finish was not seen to be called, so its operations are not known")
        kills += states.killed(item, number=number, first=begun, returned=back)
        if not finish_only:
            for journal, listed in power.items():
                listed += states.power_cut(item, journal=journal, number=number, returned=back)
    if not finish_only:
        kills += between_ranks(found.recordings)
    found.by_model = dict(zip(MODELS, (kills, power[True], power[False]), strict=True))


def between_ranks(recordings: Sequence[Recording]) -> list[State]:
    """Kills with one rank further and the other less far than was recorded; [] where nothing shows them possible."""
    if len(recordings) != 2:
        return []
    windows = [_windows(item) for item in recordings]
    # Any hint that the ranks wait for each other, and no such state is made: an impossible one would be a false alarm.
    if any(states.why_not_free(item, inside) for item, inside in zip(recordings, windows, strict=True)):
        return []
    held = zip(range(2), recordings, windows, strict=True)
    if not all(states.held_back(item, rank, inside) for rank, item, inside in held):
        return []
    return list(states.free_cuts(recordings[0], windows[0]))


def _windows(item: Recording) -> list[Window]:
    """While each rank writes its data: from its call of write_data until finish is called."""
    stop = _mark(item, "finish began on rank")
    starts = [_mark(item, f"write_data began on rank {rank}") for rank in range(2)]
    return [
        Window(rank, start, stop) for rank, start in enumerate(starts) if start is not None and stop is not None
    ]  # fmt: skip


def _mark(item: Recording, text: str) -> int | None:
    """After how many operations something was announced first."""
    return next((place for place, said in item.marks if said.startswith(text)), None)


def _returned(item: Recording, ranks: int) -> int | None:
    """After how many operations the save had returned on all ranks."""
    # The last rank counts: what one rank's return promises, the others may still be at.
    places = [place for place, said in item.marks if said.startswith("returned on rank")]
    return max(places) if len(places) == ranks else None


def load_all(subject: Subject, found: Exploration, *, most: int = MOST_TREES, seconds: float = MOST_SECONDS) -> None:
    """Load the states of a situation, each tree once, and keep what that gave."""
    chosen = _chosen([state for model in MODELS for state in found.by_model[model]], most)
    results = _loads(subject, found.situation, dict(enumerate(chosen)), seconds=seconds)
    found.results = {key(chosen[place]): result for place, result in results.items()}


def _chosen(candidates: Iterable[State], most: int) -> list[State]:
    """Return one state for each tree, in the order in which they are loaded, `most` of them; see MOST_TREES."""
    first: dict[Any, State] = {}
    # Sorted first: of several states with one tree the one that must be right stands for it.
    for state in sorted(candidates, key=_importance):
        first.setdefault(key(state), state)
    unique = list(first.values())
    # Of equal importance in a fixed disorder: what neither number nor time allows is missing here and there.
    random.Random(0).shuffle(unique)
    return sorted(unique, key=_importance)[:most]


def _importance(state: State) -> int:
    # Durability comes first: once save has returned there is exactly one right answer.
    if state.returned:
        return 0
    wrote = " write " in state.last
    if state.lost == "nothing":
        return 1 + 2 * wrote
    # A file that is whole beside others that are as they were: what mixtures are made of.
    return 2 if state.lost.startswith("all un-synced data") and not wrote else 4


def _loads(
    subject: Subject, situation: Situation, wanted: dict[int, State], *, seconds: float, fresh: bool = False
) -> dict[int, Loaded]:
    results: dict[int, Loaded] = {}
    waiting, lost, deadline = list(wanted), 0, time.monotonic() + seconds
    while waiting and lost < _MOST_LOST and time.monotonic() < deadline:
        batch = {place: wanted[place].tree for place in waiting[:_BATCH]}
        arguments = (_place(situation), situation.versions, batch, situation.metadata, seconds)
        [outcome] = subject.run(1, on_ranks.load_trees, *arguments, fresh=fresh)
        results |= _results(outcome)
        lost += not isinstance(outcome, Returned)
        # A rank that died has answered for what it loaded before; its last tree is noted as HANG and not tried again.
        waiting = [place for place in waiting if place not in results]
    return results


def _results(outcome: Outcome) -> dict[int, Loaded]:
    found = {event.data["number"]: _loaded(event) for event in outcome.events if event.kind == "loaded"}
    if isinstance(outcome, Died | Hung):
        begun = [event.data["number"] for event in outcome.events if event.kind == "loading"]
        # Nothing of the backend had been called for these trees, so it cannot have been the backend's load.
        if not begun:
            raise HarnessFault(f"the rank was lost before its first load: {outcome}")
        how = (
            "gave no answer"
            if isinstance(outcome, Hung)
            else f"ended its process ({outcome.signal or outcome.exit_code})"
        )
        found[begun[-1]] = Loaded("HANG", f"the load {how}")
    else:
        must_return([outcome])
    # An error with no frame of code under test is ours; as ERROR it would pass for a lawful refusal.
    faults = [result.said for result in found.values() if result.kind == "FAULT"]
    if faults:
        raise HarnessFault(f"a state could not be loaded: {faults[0]}")
    return found


def _loaded(event: Event) -> Loaded:
    return Loaded(event.data["gave"], event.data["said"], event.data["metadata"], event.data["mixed"])
