"""The settings of a writer that a backend names, or that it takes under the names that DCP documents for its own."""

from __future__ import annotations

from typing import Any

from dcp_conformance.harness.backend.settings import DOCUMENTED, documented
from dcp_conformance.harness.subject.session import Session


def option_sets(session: Session) -> list[dict[str, Any]]:
    """Return the settings to try, the plain one first: the record's, else the documented ones that the writer takes."""
    declared = [dict(item) for item in session.storage.option_sets]
    # A record that lists settings has chosen what it wants to be tried with.
    if session.storage.writer is None or len(declared) > 1:
        return declared
    return declared + [{name: value} for name in documented(session.storage.writer) for value in DOCUMENTED[name]]


def option_set(session: Session, said: str) -> dict[str, Any]:
    """Return the settings by what `said_options` says of them; none for a stand-in that has no such set."""
    return {str(item): item for item in option_sets(session)}.get(said, {})


def said_options(session: Session) -> list[str]:
    """Return the settings to try, as text."""
    return [str(item) for item in option_sets(session)]


def opted_out_of(session: Session) -> list[str]:
    """Return the capabilities that the storage does not have."""
    return sorted(session.storage.unsupported)
