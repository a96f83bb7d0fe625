"""A few bytes that are dear to read for a reader which believes them: each stands for one way to ask for too much."""

from __future__ import annotations

import gzip
import io
import pickle
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

# So many that believing costs hundreds of MiB, which shows, and not many GiB, which hurts.
_MANY = 4_000_000
_LEVELS = 25
_ZEROS = bytes(1 << 27)


class _Call:
    """Pickles to a call of a harmless constructor."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self._call = function, args

    def __reduce__(self) -> Any:
        return self._call


def _shared_lists() -> bytes:
    """Return a list that holds one twice, which holds one twice, and so on: 2 to the levels paths lead to its end."""
    inner: list[Any] = []
    for _ in range(_LEVELS):
        inner = [inner, inner]
    # pickle stores each list once: a few bytes a level, however many paths there are.
    return pickle.dumps(inner)


def _deflated() -> bytes:
    """Return an archive as torch.save names its records, of zeros that were compressed."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", _ZEROS)
    return packed.getvalue()


def dear_bytes() -> Mapping[str, bytes]:
    """Return the bytes by what they ask for, in words. The longest are 128 KiB."""
    return {
        "a pickle that remembers a value under the number 2^25": b"\x80\x04Nr\x00\x00\x00\x02.",
        "a pickle of a set of four million numbers": pickle.dumps(_Call(set, range(_MANY))),
        "a pickle of a deque of four million numbers": pickle.dumps(_Call(deque, range(_MANY))),
        "a pickle of lists that hold each other twice": _shared_lists(),
        "a zip archive of 128 MiB of zeros": _deflated(),
        "128 MiB of zeros, by gzip": gzip.compress(_ZEROS),
        "128 MiB of zeros, by zlib": zlib.compress(_ZEROS),
    }
