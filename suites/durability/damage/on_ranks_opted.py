"""What the backend opted out of, for tests of which only a part depends on it."""

from __future__ import annotations

from dcp_conformance.harness.subject.session import Session


def reason(session: Session, capability: str) -> str | None:
    """Why the backend does not have a capability; None where it has it."""
    return session.storage.unsupported.get(capability)
