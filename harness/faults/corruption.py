"""Damage to stored bytes: each kind as data, planned for a checkpoint, done and undone through its Blobs.

It acts below the storage API, on what lies in the store, so no engine can be blamed for what follows. Positions are
sampled by region and follow from the stored bytes alone, so that a second run does the same damage again.

What it cannot see: copies that a store keeps elsewhere (a cache, a replica), and where compressed or encrypted bytes
come from; those objects are sampled as one region.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from dcp_conformance.harness.backend.blobs import Blobs
from dcp_conformance.harness.cluster import ExceptionRecord

KINDS = ("delete", "truncate", "flip", "zero", "append", "swap", "exchange", "length", "substitute")
BLOCK = 512
# A number that no size can be, as eight bytes: whoever takes memory or loops by it never comes back.
GIANT = (1 << 60).to_bytes(8, "little")
Stored = Mapping[str, bytes]
# What becomes of objects: name -> new bytes, or None where the object is taken away.
Changes = Mapping[str, bytes | None]


# Kinds of places: what lies before, in, between and behind the values of a data object; an object as a whole.
PARTS = ("header", "payload", "index", "tail", "object", "metadata")


class Grade(enum.IntEnum):
    """How well a load of damaged bytes ended, from the worst to the best."""

    SILENT = 0
    OPAQUE = 1
    TYPED = 2
    NAMED = 3
    HARMLESS = 4

    @property
    def words(self) -> str:
        """The grade as a reader needs it."""
        return _GRADES[self]


_GRADES = {
    Grade.SILENT: "wrong values without an error",
    Grade.OPAQUE: "an error that does not say what is wrong",
    Grade.TYPED: "an error that says what is wrong",
    Grade.NAMED: "an error that names what is damaged",
    Grade.HARMLESS: "right values",
}
# Errors of code that stumbled over bytes it took for sound: they tell a user nothing about the checkpoint.
_STUMBLES = frozenset({
    "EOFError", "KeyError", "IndexError", "AttributeError", "TypeError", "AssertionError", "UnicodeDecodeError",
    "UnpicklingError", "MemoryError", "OverflowError", "error", "RecursionError", "ModuleNotFoundError", "NameError",
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Damage:
    """One change of the stored bytes of a checkpoint."""

    #: One of KINDS.
    kind: str
    #: The object.
    name: str
    #: The first byte that changes (flip, zero, length), or the length that is left (truncate).
    position: int = 0
    #: Number of bytes (zero).
    size: int = 0
    #: 0 to 7 (flip).
    bit: int = 0
    #: The object that it changes places with (swap: of equal size, exchange: of another), or whose bytes it gets from
    #: a donor checkpoint (substitute).
    other: str = ""
    #: What lies there, in words.
    region: str = ""
    #: The kind of place, one of PARTS.
    part: str = "object"

    def sentence(self) -> str:
        """Return the damage in words, with its place."""
        where = f" in the {self.region}" if self.region else ""
        return {
            "delete": f"the object {self.name!r} deleted",
            "truncate": f"the object {self.name!r} cut to {self.position} bytes",
            "flip": f"bit {self.bit} of byte {self.position} of {self.name!r} flipped{where}",
            "zero": f"{self.size} bytes of {self.name!r} from byte {self.position} zeroed{where}",
            "append": f"{BLOCK} bytes appended to {self.name!r}",
            "swap": f"the contents of {self.name!r} and {self.other!r} exchanged",
            "exchange": f"the contents of {self.name!r} and {self.other!r} exchanged",
            "length": f"8 bytes of {self.name!r} from byte {self.position} replaced by the number 2^60{where}",
            "substitute": f"the object {self.name!r} replaced by {self.other!r} of another checkpoint",
        }[self.kind]


def changes(damage: Damage, stored: Stored, donor: Stored | None = None) -> Changes:
    """Return what the damage makes of the objects that it touches."""
    data, at = stored[damage.name], damage.position
    if damage.kind in ("swap", "exchange"):
        return {damage.name: stored[damage.other], damage.other: data}
    if damage.kind == "substitute":
        assert donor is not None, "a substitution takes its bytes from a donor"
        return {damage.name: donor[damage.other]}
    made: dict[str, Callable[[], bytes | None]] = {
        "delete": lambda: None,
        "truncate": lambda: data[:at],
        "flip": lambda: data[:at] + bytes([data[at] ^ (1 << damage.bit)]) + data[at + 1 :],
        "zero": lambda: data[:at] + bytes(damage.size) + data[at + damage.size :],
        "append": lambda: data + b"\xa5" * BLOCK,
        "length": lambda: data[:at] + GIANT + data[at + len(GIANT) :],
    }
    return {damage.name: made[damage.kind]()}


@contextlib.contextmanager
def inflicted(blobs: Blobs, done: Changes, stored: Stored) -> Iterator[None]:
    """Change the stored objects, and put back what was there."""
    try:
        for name, data in done.items():
            _put(blobs, name, data)
        yield
    finally:
        # All of them, also those that were not reached: putting sound bytes over sound bytes harms nothing.
        for name in done:
            _put(blobs, name, stored.get(name))


def _put(blobs: Blobs, name: str, data: bytes | None) -> None:
    if data is not None:
        blobs.write(name, data)
        return
    with contextlib.suppress(KeyError):  # it is gone already, which is what was asked for
        blobs.delete(name)


def contents(blobs: Blobs) -> dict[str, bytes]:
    """Return all stored objects by name."""
    return {name: blobs.read(name) for name in blobs.names()}


def planned(kinds: Iterable[str], stored: Stored, known: Mapping[str, bytes]) -> list[Damage]:
    """Return the damages of the given kinds to each object in turn.

    known: label -> bytes whose place makes a region.
    """
    makers = {
        "delete": lambda name, data: [Damage(kind="delete", name=name)],
        "truncate": lambda name, data: _cuts(name, data),
        "flip": lambda name, data: _flips(name, data, known),
        "zero": lambda name, data: _zeroes(name, data, known),
        "append": lambda name, data: [Damage(kind="append", name=name)],
        "length": lambda name, data: _lengths(name, data, known),
    }
    single = [damage for kind in kinds if kind in makers for name in sorted(stored)
              for damage in makers[kind](name, stored[name])]  # fmt: skip
    exchanged = _exchanges(stored) if "exchange" in kinds else []
    return single + (swaps(stored) if "swap" in kinds else []) + exchanged


def swaps(stored: Stored) -> list[Damage]:
    """Return the exchanges of objects of equal size and other contents, each object once with its next equal."""
    pairs = []
    names = sorted(stored)
    for place, name in enumerate(names):
        for other in names[place + 1 :]:
            # Of equal size, so that no length gives it away: only a checksum that is bound to a name can.
            if len(stored[name]) == len(stored[other]) and stored[name] != stored[other]:
                pairs.append(Damage(kind="swap", name=name, other=other))
                break
    return pairs


def _exchanges(stored: Stored) -> list[Damage]:
    """Return the exchanges of each object with the next one of another size."""
    names, found = sorted(stored), []
    for place, name in enumerate(names):
        other = next((item for item in names[place + 1 :] if len(stored[item]) != len(stored[name])), None)
        if other is not None:
            found.append(Damage(kind="exchange", name=name, other=other))
    return found


def substitutions(stored: Stored, donor: Stored, names: Iterable[str], *, any_size: bool = False) -> list[Damage]:
    """Replace each of `names` by its like in a checkpoint of the same state.

    Its like has the same name, else the same place in the order of names; and the same size, unless `any_size`.
    """
    # Names may carry the id of a save; then the place in the order stands for the name.
    twins = dict(zip(sorted(stored), sorted(donor), strict=False)) if len(stored) == len(donor) else {}
    found = []
    for name in sorted(names):
        other = name if name in donor else twins.get(name, "")
        like = other in donor and (any_size or len(donor[other]) == len(stored[name]))
        if like and donor[other] != stored[name]:
            found.append(Damage(kind="substitute", name=name, other=other))
    return found


def flips_every(step: int, name: str, data: bytes, *, most: int) -> list[Damage]:
    """Return one flipped bit in every `step`-th byte, thinned out evenly where that is more than `most`."""
    step = max(step, -(-len(data) // most))
    return [Damage(kind="flip", name=name, position=at, bit=at % 8) for at in range(0, len(data), step)]


def sampled(start: int, stop: int, count: int) -> list[int]:
    """Return up to `count` positions of a region, spread evenly, its first and its last byte among them."""
    size = stop - start
    if size <= count:
        return list(range(start, stop))
    return sorted({start + (size - 1) * number // (count - 1) for number in range(count)})


def regions(data: bytes, known: Mapping[str, bytes]) -> list[tuple[str, int, int]]:
    """(name, start, stop) of each known piece that is found, and of what lies between them."""
    # By looking for the saved bytes: it works for every format that neither compresses nor encrypts.
    found = sorted((data.find(piece), label, len(piece)) for label, piece in known.items() if piece and piece in data)
    parts, end = [], 0
    for start, label, size in found:
        if start > end:
            parts.append(("bytes around the values", end, start))
        parts.append((f"value of {label!r}", start, start + size))
        end = max(end, start + size)
    if end < len(data):
        parts.append(("bytes around the values" if found else "object", end, len(data)))
    return parts


def part_of(data: bytes, known: Mapping[str, bytes], position: int) -> str:
    """Return which of PARTS lies at a position: before the known pieces, in one, between them, or behind them."""
    values = [(start, stop) for name, start, stop in regions(data, known) if name.startswith("value of")]
    if not values:
        return "object"
    if any(start <= position < stop for start, stop in values):
        return "payload"
    if position < values[0][0]:
        return "header"
    return "tail" if position >= values[-1][1] else "index"


def graded(error: ExceptionRecord | None, *, right: bool, name: str, keys: Iterable[str]) -> Grade:
    """Grade one load.

    right: its values are right; name: the damaged object; keys: those of which the error should name one too, none
    where the object belongs to no key.
    """
    if error is None:
        return Grade.HARMLESS if right else Grade.SILENT
    chain = list(_chain(error))
    text = "\n".join(item.text for item in chain)
    wanted = list(keys)
    if name.rsplit("/", 1)[-1] in text and (not wanted or any(key in text for key in wanted)):
        return Grade.NAMED
    # A CheckpointException only collects; what it carries is what the user has to understand.
    cause = next((item for item in chain if not item.failures), error)
    return Grade.OPAQUE if not cause.text.strip() or cause.type_name in _STUMBLES else Grade.TYPED


def _chain(error: ExceptionRecord) -> Iterator[ExceptionRecord]:
    yield error
    for inner in (*(error.failures or {}).values(), *([error.cause] if error.cause is not None else [])):
        yield from _chain(inner)


def _cuts(name: str, data: bytes) -> list[Damage]:
    lengths = sorted({0, 1, len(data) // 2, len(data) - 1} & set(range(len(data))))
    return [Damage(kind="truncate", name=name, position=length) for length in lengths]


def _flips(name: str, data: bytes, known: Mapping[str, bytes]) -> list[Damage]:
    return [
        # The bit follows from the place: spread over all eight, and the same in a second run.
        Damage(kind="flip", name=name, position=at, bit=(at * 5 + 3) % 8, region=region)
        for region, start, stop in regions(data, known)
        for at in sampled(start, stop, 7)
    ]


def _lengths(name: str, data: bytes, known: Mapping[str, bytes]) -> list[Damage]:
    """Put a giant number wherever sizes may stand: all about the values, and densest at the start."""
    size = len(GIANT)
    places = {
        (at, region)
        for region, start, stop in regions(data, known)
        if not region.startswith("value of")
        for at in (*range(start, min(start + 4 * size, stop), size), *sampled(start, stop - size + 1, 9))
        if at + size <= stop
    }
    return [Damage(kind="length", name=name, position=at, region=region) for at, region in sorted(places)]


def _zeroes(name: str, data: bytes, known: Mapping[str, bytes]) -> list[Damage]:
    return [
        Damage(kind="zero", name=name, position=start, size=min(BLOCK, stop - start), region=region)
        for region, start, stop in regions(data, known)
        # Zeroing zeros damages nothing.
        if data[start : min(start + BLOCK, stop)].strip(b"\0")
    ]
