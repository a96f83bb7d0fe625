"""A backend as plain data: what the process that imported it tells the one that judges it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a backend is, as plain data: it may be pickled, sent between processes and written as JSON."""

    name: str
    reference: str  # as typed behind --backend=
    version: str
    location: str  # the file or the entry point
    commit: str = ""  # of the repository that holds it, empty where there is none
    digest: str = ""  # of its files of code
    letters: tuple[str, ...]  # what it supplies, see Backend.owned_letters
    unsupported: dict[str, str] = field(default_factory=dict)
    offers: tuple[str, ...] = ()
    exports: tuple[str, ...] = ()
    inherits: tuple[str, ...] = ()  # "writer.write_data": storage methods that are torch's code
    torch: str = ""
    patience: float = 1.0
    functions: tuple[str, ...] = ()  # which of save, load and async_save it exports
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Surveyed:
    """What a process that may import the backend reported about it; plain data."""

    description: Description
    #: The reference of the engine for blame; None, with the reason in `notes`, if there is none.
    second: str | None
    #: How many there are of the kind that --device names; 0 for the CPU.
    devices: int
    has_server: bool
    #: Of python, torch and the harness.
    versions: dict[str, str]
    notes: tuple[str, ...] = ()
    #: Capabilities that one save showed to be missing, each with what was seen.
    lacks: tuple[tuple[str, str], ...] = ()

    def as_json(self) -> str:
        """Return the survey as text, for workers that must not ask again."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Surveyed:
        """Return the survey that `as_json` wrote."""
        data = json.loads(text)
        # JSON knows no tuples; the description's fields are tuples wherever they are sequences.
        described: dict[str, Any] = {
            n: tuple(v) if isinstance(v, list) else v for n, v in data.pop("description").items()
        }
        lacks = tuple((str(name), str(seen)) for name, seen in data.pop("lacks"))
        described_as = Description(**described)
        return cls(**{**data, "description": described_as, "notes": tuple(data["notes"]), "lacks": lacks})
