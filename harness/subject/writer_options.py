"""The settings of a writer that a backend names, or that it takes under the names that DCP documents for its own."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from dcp_conformance.harness.subject.session import Session

# Parameters of torch's FileSystemWriter that others take over with their meaning, each with values worth a try.
DOCUMENTED: Mapping[str, tuple[Any, ...]] = {"thread_count": (2, 4), "single_file_per_rank": (False,)}


def option_sets(session: Session) -> list[dict[str, Any]]:
    """Return the settings to try, the plain one first: the record's, else the documented ones that the writer takes."""
    declared = [dict(item) for item in session.storage.option_sets]
    # A record that lists settings has chosen what it wants to be tried with.
    if session.storage.writer is None or len(declared) > 1:
        return declared
    return declared + [{name: value} for name in _taken(session.storage.writer) for value in DOCUMENTED[name]]


def option_set(session: Session, said: str) -> dict[str, Any]:
    """Return the settings by what `said_options` says of them; none for a stand-in that has no such set."""
    return {str(item): item for item in option_sets(session)}.get(said, {})


def said_options(session: Session) -> list[str]:
    """Return the settings to try, as text."""
    return [str(item) for item in option_sets(session)]


def opted_out_of(session: Session) -> list[str]:
    """Return the capabilities that the storage does not have."""
    return sorted(session.storage.unsupported)


def _taken(writer: Any) -> list[str]:
    try:
        parameters = inspect.signature(writer).parameters
    except (TypeError, ValueError):  # a writer in C says nothing of what it takes
        return []
    return [name for name in DOCUMENTED if name in parameters]
