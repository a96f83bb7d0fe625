"""Damage done to the stored bytes of a small checkpoint, one load after each: what does it give?

Every damaged load is announced before it starts, so that one which kills or stalls the process is known by name, and a
run ends itself after a while, so that its time limit measures loads and not their number.
"""

from __future__ import annotations

import functools
import pickle
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from dcp_conformance.harness.backend.record import Blobs
from dcp_conformance.harness.faults import corruption
from dcp_conformance.harness.faults.corruption import Changes, Damage
from dcp_conformance.harness.faults.limits import address_space_limit
from dcp_conformance.harness.faults.storage import announce
from dcp_conformance.harness.laws.verbs import described
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded, pattern
from dcp_conformance.harness.subject.session import Session, into_subject

# Memory that a load of damaged bytes may map on top of what the process has. Being refused more is an error like any
# other; without a limit one flipped bit of a pickle makes Python fill 12 GiB (a memo index), on whosoever machine.
MEMORY = 2 << 30
MOST_FLIPS = 400


def census(session: Session, kinds: tuple[str, ...], start: int, seconds: float) -> dict[str, Any]:
    """Loads after each damage of these kinds, from the `start`-th on, for so many seconds.

    kinds: those of harness.faults.corruption; "metadata": one bit of every 7th byte of the objects which read_metadata
    needs; "stale": an object of another save; "older": an object, metadata too, of the save that this one overwrote;
    "tensors": no damage, but a state without objects.
    Returns {"rows", "next", "total", "sound"}.
    """
    state, checkpoint_id = small_state(session, version=1), session.new_id(f"sound{start}")
    if "tensors" in kinds:
        state = {key: item for key, item in state.items() if isinstance(item, torch.Tensor)}
    before: Mapping[str, bytes] = {}
    if "older" in kinds:
        session.needs("overwrite")
        before = _saved(session, small_state(session, version=2), checkpoint_id)
    session.save(state, checkpoint_id)
    blobs = session.stored_bytes(checkpoint_id)
    stored = into_subject(corruption.contents, blobs)
    subject = Damaged(session, state, checkpoint_id, blobs, stored)
    other = session.new_id(f"other{start}")
    donor = before or (_saved(session, small_state(session, version=2), other) if "stale" in kinds else {})
    damages = _damages(subject, kinds, donor)
    rows = list(_rows(subject, damages[start:], donor, start, time.monotonic() + seconds))
    sound = [item.sentence() for item in subject.differences()]
    return {"rows": rows, "next": start + len(rows), "total": len(damages), "sound": sound}


def small_state(session: Session, *, version: int) -> dict[str, Any]:
    """Two tensors that say where their elements come from, one of arbitrary bits, and two objects.

    No key is a word that an error might happen to use.
    """
    state: dict[str, Any] = {
        "layer.first": coded(1, (48,), version=version),
        "layer.second": coded(2, (48,), version=version),
        "layer.bits": pattern("bits", (9, 7), torch.float32, version=version),
    }
    if "objects" not in session.storage.unsupported:
        state |= {"opt.step": 70_000 + version, "opt.note": f"a note of version {version}"}
    return state


class Damaged:
    """One checkpoint whose stored bytes are changed and put back, again and again."""

    def __init__(self, session: Session, state: Any, checkpoint_id: Any, blobs: Blobs, stored: Any) -> None:
        self.session, self.state, self.id, self.blobs, self.stored = session, state, checkpoint_id, blobs, stored

    @functools.cached_property
    def known(self) -> dict[str, bytes]:
        """The raw bytes of each tensor, by which its place in an object is found."""
        tensors = {key: item for key, item in self.state.items() if isinstance(item, torch.Tensor)}
        return {key: bytes(item.reshape(-1).view(torch.uint8).tolist()) for key, item in tensors.items()}

    @functools.cached_property
    def metadata(self) -> bytes:
        """What read_metadata gives of the undamaged checkpoint."""
        return self.described_metadata()

    @functools.cached_property
    def metadata_names(self) -> list[str]:
        """The objects without which read_metadata does not give what it gave."""
        return [name for name in sorted(self.stored) if self._needed_by_metadata(name)]

    def _needed_by_metadata(self, name: str) -> bool:
        sound = self.metadata
        with corruption.inflicted(self.blobs, {name: None}, self.stored):
            return self.metadata_differs(sound)

    def metadata_differs(self, sound: bytes) -> bool:
        """Whether read_metadata fails, or gives something else than `sound`."""
        found: list[bytes] = []
        attempt = self.session.attempt(lambda: found.append(self.described_metadata()))
        return not attempt.ok or found != [sound]

    def described_metadata(self) -> bytes:
        """The parts of the metadata that say what is stored where; not the ids that each reader may add anew."""
        metadata = self.session.reader(self.id).read_metadata()
        return pickle.dumps((metadata.state_dict_metadata, metadata.planner_data, metadata.storage_data))

    def differences(self) -> list[Any]:
        """What a load gives that is not the saved state."""
        target = blank(self.state)
        self.session.load(target, self.id)
        return differences(self.state, target)

    def part_of(self, damage: Damage) -> str:
        """What kind of stored thing a damage is done to."""
        if damage.name in self.metadata_names:
            return "metadata"
        place = damage.kind in ("flip", "zero", "length")
        return corruption.part_of(self.stored[damage.name], self.known, damage.position) if place else "object"

    def outcome(self, damage: Damage, done: Changes) -> dict[str, Any]:
        """How one load of the damaged checkpoint ended, as plain data."""
        target = blank(self.state)
        with corruption.inflicted(self.blobs, done, self.stored), address_space_limit(MEMORY):
            before = into_subject(corruption.contents, self.blobs)
            attempt = self.session.attempt(self.session.load, target, self.id)
            after = into_subject(corruption.contents, self.blobs)
            found = differences(self.state, target) if attempt.ok else []
            if found and damage.kind == "substitute" and damage.name in self.metadata_names:
                # With the metadata of another whole checkpoint its whole state may load: nobody can tell it from that.
                found = differences(small_state(self.session, version=2), target) and found
            # Only where the damaged object also tells where values lie must a wrong value be blamed on its metadata.
            lied = bool(found) and damage.name in self.metadata_names and self.metadata_differs(self.metadata)
        keys = () if damage.name in self.metadata_names else self.state
        grade = corruption.graded(attempt.error, right=not found, name=damage.name, keys=keys)
        return {
            "damage": damage.sentence(), "kind": damage.kind, "part": self.part_of(damage),
            "region": damage.region, "grade": int(grade), "seconds": attempt.seconds,
            "wrong": found[0].sentence() if found else "", "error": described(attempt.error) if attempt.error else "",
            "metadata": lied, "changed": sorted({name for name, _ in before.items() ^ after.items()}),
        }  # fmt: skip


def _rows(
    subject: Damaged, damages: list[Damage], donor: Mapping[str, bytes], start: int, until: float
) -> Iterator[dict[str, Any]]:
    for number, damage in enumerate(damages, start):
        announce("damage", number=number, what=damage.sentence())
        row = subject.outcome(damage, corruption.changes(damage, subject.stored, donor))
        announce("loaded", row=row)  # what is known must outlive the next load
        yield row
        if time.monotonic() > until:
            return


def _damages(subject: Damaged, kinds: tuple[str, ...], donor: Mapping[str, bytes]) -> list[Damage]:
    damages = corruption.planned([kind for kind in kinds if kind in corruption.KINDS], subject.stored, subject.known)
    names = subject.metadata_names  # looked up while everything is sound
    if "metadata" in kinds:
        for name in names:
            damages += corruption.flips_every(7, name, subject.stored[name], most=MOST_FLIPS // len(names))
    if "stale" in kinds:
        damages += corruption.substitutions(subject.stored, donor, set(subject.stored) - set(names))
        damages += corruption.substitutions(subject.stored, donor, names, any_size=True)
    if "older" in kinds:
        same = [name for name in subject.stored if name in donor]
        damages += corruption.substitutions(subject.stored, donor, same, any_size=True)
    return damages


def _saved(session: Session, state: Any, checkpoint_id: Any) -> Mapping[str, bytes]:
    """Save another state of the same keys and sizes with other values; its stored objects."""
    session.save(state, checkpoint_id)
    contents: Mapping[str, bytes] = into_subject(corruption.contents, session.stored_bytes(checkpoint_id))
    return contents
