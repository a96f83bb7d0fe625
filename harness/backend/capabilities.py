"""The closed lists of what a backend may honestly not do, and of what counts only when it is offered."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from dcp_conformance.harness.errors import UsageError

CAPABILITIES: Mapping[str, str] = MappingProxyType(
    {
        "objects": "Stores values that are not tensors (numbers, strings, lists, any picklable object).",
        "exotic_dtypes": "Stores complex, float8 and uint16/32/64 tensors bit for bit.",
        "layouts": "Stores non-contiguous, conjugate and negative views by their values.",
        "overwrite": "Saves to an id that holds a checkpoint; without it such a save is refused and the old one kept.",
        "crash_safe_overwrite": "An interrupted overwrite leaves the old or the new checkpoint, whole.",
        "torch_format": "Reads and writes the files of torch's own FileSystemWriter.",
        "multi_process": "Several ranks save and load one checkpoint together.",
        "resharding": "A checkpoint loads into another world size or another layout.",
        "async_save": "Saves through async_save in a thread.",
        "async_process": "Saves through async_save in a process of its own (the writer is pickled).",
        "rank_local_metadata": "Saves and loads with use_collectives=False, each rank with its own metadata.",
        "extensions": "Applies stream extensions to what it stores (only where offered).",
        "stored_bytes": "The harness may read and change the stored bytes behind the backend's back.",
        "local_files": "Stores below a local path, so file-system faults and power cuts can be staged.",
    }
)

OFFERS: Mapping[str, str] = MappingProxyType(
    {
        "extensions": "Takes stream extensions in the writer's constructor and applies them to every entry.",
        "drop_in": "Replaces torch's engine in everything, deprecated and private behaviour included.",
    }
)


def check_unsupported(unsupported: Mapping[str, str], where: str) -> dict[str, str]:
    """Return ``unsupported`` as a plain dict, or raise UsageError: unknown name, or no reason given.

    :param where: what holds the mapping, in words, for the message ("mypkg.UNSUPPORTED").
    """
    if not isinstance(unsupported, Mapping):
        raise UsageError(
            f"{where} is a {type(unsupported).__name__}; it must map a capability to the reason why "
            f'it is not supported: {{"overwrite": "our store is write-once"}}.'
        )
    for name, reason in unsupported.items():
        _check_known(name, CAPABILITIES, where, "capability", "capabilities")
        if not isinstance(reason, str) or not reason.strip():
            raise UsageError(
                f"{where}[{name!r}] gives no reason. Opting out is shown on the certificate, so it needs a "
                f'sentence: {{"{name}": "why the backend does not do this"}}.'
            )
    return {name: reason.strip() for name, reason in unsupported.items()}


def check_offers(offers: object, where: str) -> tuple[str, ...]:
    """Return ``offers`` as a tuple without repetition, or raise UsageError naming the unknown one."""
    if isinstance(offers, str) or not isinstance(offers, (list, tuple, set, frozenset)):
        raise UsageError(f'{where} must be a list of names, for example ["extensions"]; it is {offers!r}.')
    for name in offers:
        _check_known(name, OFFERS, where, "offer", "offers")
    return tuple(sorted(set(offers)))


def contradiction(name: str, capability: str, seen: str) -> str:
    """Return the note for the author of the module: what was seen, and the line that says so."""
    line = f'UNSUPPORTED = {{"{capability}": "a format of our own"}}'
    return f"{capability} is taken as not supported: {seen}. Say so in {name}: {line}"


def _check_known(name: object, known: Mapping[str, str], where: str, one: str, many: str) -> None:
    if isinstance(name, str) and name in known:
        return
    near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise UsageError(f"{where} names an unknown {one}, {name!r}.{hint} The {many} are: {', '.join(known)}.")
