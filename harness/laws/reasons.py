"""Whether an error still tells why the system refused something: by its number, in its words, or in a store's own."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from dcp_conformance.harness.cluster import ExceptionRecord

# What programs say for an answer of the system, beside its name and the system's own words. Lower case.
WORDS = {
    errno.ENOSPC: ("space", "full"),
    errno.EDQUOT: ("quota", "space", "full"),
    errno.EROFS: ("read-only", "readonly"),
    errno.EACCES: ("permission", "denied", "forbidden", "readonly", "read-only"),
    errno.EIO: (),
}
# What databases and archives say of whatever the system answered.
ANY = ("i/o", "io error", "disk", "unable to open", "cannot open")


def tells_reason(error: ExceptionRecord, number: int) -> bool:
    """Tell whether an error, its failures or its causes say that the system answered with the error `number`.

    An OSError does, whatever its text: who catches it can tell it from a defect of the program.
    """
    words = (errno.errorcode[number].lower(), os.strerror(number).lower(), f"errno {number}", *WORDS[number], *ANY)
    return any(item.is_a("OSError") or any(word in item.text.lower() for word in words) for item in chain(error))


def chain(error: ExceptionRecord) -> Iterator[ExceptionRecord]:
    """Yield an error, the failures that it carries and what caused each of them.

    One that carries failures says nothing of its own: its text is theirs, with lines of code from their stacks.
    """
    if not error.failures:
        yield error
    for inner in (*(error.failures or {}).values(), *([] if error.cause is None else [error.cause])):
        yield from chain(inner)
