"""A finding as one word: everything that is needed to repeat it, short enough for a chat or an issue."""

from __future__ import annotations

import base64
import binascii
import json
import shlex
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dcp_conformance.harness.errors import UsageError

_PREFIX = "dcp1-"
_MOST_BYTES = 64 << 10


@dataclass(frozen=True, kw_only=True)
class Token:
    """What a finding depends on. `command`: the words that certify the backend; `seed`: of random data."""

    command: tuple[str, ...]
    clause: str
    case: str
    seed: int
    device: str
    suite: str
    torch: str

    def encoded(self) -> str:
        """Return the token as one word of letters, digits, - and _."""
        packed = zlib.compress(json.dumps(asdict(self), separators=(",", ":")).encode(), 9)
        return _PREFIX + base64.urlsafe_b64encode(packed).decode().rstrip("=")

    def words(self, *, device: str) -> list[str]:
        """Return the arguments of a run that repeats the finding, on tensors that lie on `device`."""
        kept, skip = [], False
        for word in self.command:
            if not skip and word != "--device":
                kept.append(word)
            skip = word == "--device"
        chosen = [] if device == "cpu" else ["--device", device]
        return [*kept, *chosen, "--seed", str(self.seed), "--clause", self.clause, "--case", self.case]


def token_of(certificate: Mapping[str, Any], clause: str, case: str) -> Token:
    """Return the token of one case of one clause on a certificate."""
    return Token(
        command=tuple(shlex.split(certificate["run"]["command"])[1:]),
        clause=clause,
        case=case,
        seed=certificate["run"]["seed"],
        device=certificate["environment"]["topology"]["device"],
        suite=certificate["suite"]["version"],
        torch=certificate["environment"]["torch"],
    )


def decoded(text: str) -> Token:
    """Return the token that `encoded` wrote. Raises UsageError for any other text."""
    try:
        raw = base64.urlsafe_b64decode(text.removeprefix(_PREFIX) + "=" * (-len(text.removeprefix(_PREFIX)) % 4))
        unpacker = zlib.decompressobj()
        data = json.loads(unpacker.decompress(raw, _MOST_BYTES))
        token = Token(**{**data, "command": tuple(map(str, data["command"]))})
    except (binascii.Error, zlib.error, ValueError, TypeError, KeyError) as error:
        raise UsageError(f"This is no token of a finding: {text[:40]!r} ({type(error).__name__}).") from None
    if not text.startswith(_PREFIX) or not isinstance(token.seed, int):
        raise UsageError(f"This is no token of a finding: {text[:40]!r}.")
    return token
