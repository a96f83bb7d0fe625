"""One checkpoint whose stored bytes are changed and put back, again and again, with a load after each damage."""

from __future__ import annotations

import functools
import pickle
from typing import Any

import torch

from dcp_conformance.harness.backend.record import Blobs
from dcp_conformance.harness.faults import corruption
from dcp_conformance.harness.faults.corruption import Changes, Damage
from dcp_conformance.harness.faults.limits import address_space_limit
from dcp_conformance.harness.laws.verbs import described
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded, pattern
from dcp_conformance.harness.subject.session import Session, into_subject

# Memory that a load of damaged bytes may map on top of what the process has. Being refused more is an error like any
# other; without a limit one flipped bit of a pickle makes Python fill 12 GiB (a memo index), on whosoever machine.
MEMORY = 2 << 30


def small_state(session: Session, *, version: int) -> dict[str, Any]:
    """Return two tensors that say where their elements come from, one of arbitrary bits, and two objects.

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
        # Found by taking each away, since the names of a foreign format say nothing of what they hold.
        return [name for name in sorted(self.stored) if self._needed_by_metadata(name)]

    def _needed_by_metadata(self, name: str) -> bool:
        sound = self.metadata
        with corruption.inflicted(self.blobs, {name: None}, self.stored):
            return self.metadata_differs(sound)

    def metadata_differs(self, sound: bytes) -> bool:
        """Tell whether read_metadata fails, or gives something else than `sound`."""
        found: list[bytes] = []
        attempt = self.session.attempt(lambda: found.append(self.described_metadata()))
        return not attempt.ok or found != [sound]

    def described_metadata(self) -> bytes:
        """Return the parts of the metadata that say what is stored where; not the ids that each reader may add anew."""
        metadata = self.session.reader(self.id).read_metadata()
        return pickle.dumps((metadata.state_dict_metadata, metadata.planner_data, metadata.storage_data))

    def differences(self) -> list[Any]:
        """Return what a load gives that is not the saved state."""
        target = blank(self.state)
        self.session.load(target, self.id)
        return differences(self.state, target)

    def part_of(self, damage: Damage) -> str:
        """Return what kind of stored thing a damage is done to."""
        if damage.name in self.metadata_names:
            return "metadata"
        place = damage.kind in ("flip", "zero", "length")
        return corruption.part_of(self.stored[damage.name], self.known, damage.position) if place else "object"

    def outcome(self, damage: Damage, done: Changes) -> dict[str, Any]:
        """Return how one load of the damaged checkpoint ended, as plain data."""
        target = blank(self.state)
        with corruption.inflicted(self.blobs, done, self.stored), address_space_limit(MEMORY):
            # Both looks are inside the damage: a load that repairs or removes what it finds changes a user's
            # checkpoint.
            before = into_subject(corruption.contents, self.blobs)
            attempt = self.session.attempt(self.session.load, target, self.id)
            after = into_subject(corruption.contents, self.blobs)
            found = differences(self.state, target) if attempt.ok else []
            if found and damage.kind == "substitute" and damage.name in self.metadata_names:
                # With the metadata of another whole checkpoint its whole state may load: nobody can tell it from that.
                found = differences(small_state(self.session, version=2), target) and found
            # Only where the damaged object also tells where values lie must a wrong value be blamed on its metadata.
            lied = bool(found) and damage.name in self.metadata_names and self.metadata_differs(self.metadata)
        # Where the keys themselves were damaged, only the name of the object helps whoever reads the error.
        keys = () if damage.name in self.metadata_names else self.state
        grade = corruption.graded(attempt.error, right=not found, name=damage.name, keys=keys)
        return {
            "damage": damage.sentence(), "kind": damage.kind, "part": self.part_of(damage),
            "region": damage.region, "grade": int(grade), "seconds": attempt.seconds,
            "wrong": found[0].sentence() if found else "", "error": described(attempt.error) if attempt.error else "",
            "metadata": lied, "changed": sorted({name for name, _ in before.items() ^ after.items()}),
        }  # fmt: skip
