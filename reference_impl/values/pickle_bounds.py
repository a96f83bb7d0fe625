"""Whether a pickle can only make what is about as large as itself: asked before it is loaded.

A pickle of nine bytes can make the C unpickler allocate a gigabyte: a number under which something is remembered is
the length of a table. So every opcode is looked at beforehand; about 70 ns each, a tenth of what loading it takes.
"""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Callable
from typing import Any

#: Opcodes whose length stands behind them, with the number of bytes that say it.
_COUNTED = {
    ord(op.code): {-2: 1, -3: 4, -4: 4, -5: 8}[op.arg.n]
    for op in pickletools.opcodes
    if op.arg is not None and op.arg.n in (-2, -3, -4, -5)
}
#: Text opcodes of protocol 0 and those of stores outside of the pickle; no release of torch writes any.
_REFUSED = frozenset(b"FILSVgpPi\x82\x83\x84\x97\x98")
_FRAME = 0x95
_REMEMBER = ord("r")


def _widths() -> list[int]:
    """Return the bytes of each opcode with its argument.

    0 where that is not fixed or the argument has to be looked at.
    """
    widths = [0] * 256
    for op in pickletools.opcodes:
        code = ord(op.code)
        fixed = code not in _COUNTED and code not in _REFUSED and code not in (_REMEMBER, ord("."), ord("c"))
        widths[code] = 1 + (op.arg.n if op.arg is not None and op.arg.n > 0 else 0) if fixed else 0
    widths[_FRAME] = 9  # what is framed follows as it would without a frame
    return widths


_WIDTHS = _widths()


def require_bounded(data: bytes | bytearray | memoryview, start: int = 0) -> int:
    """Return the place behind the pickle that begins at ``start``.

    Raises pickle.UnpicklingError for one that is cut short, unknown, or that asks for more memory than it is long.
    """
    place, end, widths = start, len(data), _WIDTHS
    while place < end:
        code = data[place]
        width = widths[code]
        if width:
            place += width
        elif code == ord("."):
            return place + 1
        else:
            place = _behind(data, place, code)
    raise pickle.UnpicklingError("pickle data was truncated")


def _behind(data: bytes | bytearray | memoryview, place: int, code: int) -> int:
    if code in _COUNTED:
        first = place + 1 + _COUNTED[code]
        return first + int.from_bytes(data[place + 1 : first], "little")
    if code == _REMEMBER:
        if int.from_bytes(data[place + 1 : place + 5], "little") > len(data):
            raise pickle.UnpicklingError("a pickle asks for more memory than it is long")
        return place + 5
    if code == ord("c"):
        lines = bytes(data[place : place + 1024]).split(b"\n", 2)
        if len(lines) == 3:
            return place + len(lines[0]) + len(lines[1]) + 2
    raise pickle.UnpicklingError(f"the opcode {code:#04x} at byte {place} does not belong here")


def bounded(kind: Callable[..., Any]) -> Callable[..., Any]:
    """Make a constructor of containers that takes elements from a container, not from a range of a billion numbers."""

    def construct(*args: Any) -> Any:
        if args and type(args[0]) not in (list, tuple, set, frozenset, dict, str, bytes):
            raise pickle.UnpicklingError(f"a pickle makes a {getattr(kind, '__name__', kind)} of a {type(args[0])}")
        return kind(*args)

    return construct
