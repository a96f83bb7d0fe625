"""A process that dies in the middle of replacing a checkpoint, at each operation on files of its finish.

The operations are those that Python announces to audit hooks: a library that works below Python is not seen, and a
check that saw none of them is not made.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dcp_conformance.harness.faults.proxy import interpose
from dcp_conformance.harness.faults.storage import announce
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank
from dcp_conformance.harness.subject.session import Session
from dcp_conformance.suites.core.commit.on_ranks_finish import own_state

_OPERATIONS = frozenset(
    [
        "open",
        "os.rename",
        "os.remove",
        "os.rmdir",
        "os.mkdir",
        "os.link",
        "os.symlink",
        "os.truncate",
        "os.chmod",
        "shutil.rmtree",
        "shutil.move",
    ]
)


@dataclass
class KillAt:
    """A tap that kills this process at the `number`-th operation on files during finish.

    An audit hook cannot be taken away again; it does nothing once finish has returned.
    """

    number: int
    seen: int = 0
    active: bool = False

    def call(self, method: str, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """See harness.faults.proxy.Tap."""
        sys.addaudithook(self._hook)
        self.active = True
        try:
            return inner(*args, **kwargs)
        finally:
            self.active = False

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.active or event not in _OPERATIONS:
            return
        self.seen += 1
        if self.seen == self.number:
            self.active = False
            announce("fault", phase="finish", what=f"kill at {event}")
            os.kill(os.getpid(), signal.SIGKILL)


def save_old(session: Session, number: int) -> None:
    """The checkpoint that will be replaced, at an id for each number."""
    session.save(own_state(0, version=1), session.new_id(f"at{number}"))


def replace_killed(session: Session, number: int) -> int:
    """Save over it and die at the `number`-th operation of finish; returns how many there were, if they were fewer."""
    checkpoint_id, tap = session.new_id(f"at{number}"), KillAt(number)
    session.save(
        own_state(0, version=2), checkpoint_id, writer=interpose(session.writer(checkpoint_id), ("finish",), tap)
    )
    return tap.seen


def what_loads(session: Session, number: int) -> str:
    """`old`, `new`, or in words what a load gave in their place."""
    checkpoint_id, target = session.new_id(f"at{number}"), blank(own_state(0))
    attempt = session.attempt(session.load, target, checkpoint_id)
    if attempt.error is not None:
        return f"neither: {attempt.error.type_name}"
    for version, name in ((1, "old"), (2, "new")):
        if not differences(own_state(0, version=version), target):
            return name
    return f"a mixture: {differences(own_state(0, version=2), target)[0].sentence()}"
