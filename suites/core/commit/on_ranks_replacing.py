"""A process that dies in the middle of replacing a checkpoint, at each operation on files of its finish.

The operations are those that Python announces to audit hooks, where the ids are: a library that works below Python is
not seen, and a check that saw none of them is not made. A death at an operation elsewhere (a lazy import, a client's
socket, a log) would prove nothing about the checkpoint.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dcp_conformance.harness.backend.object_store import ADDRESS
from dcp_conformance.harness.faults.proxy import interpose
from dcp_conformance.harness.faults.storage import announce
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank
from dcp_conformance.harness.subject.session import Session
from dcp_conformance.suites.core.commit.saved import own_state

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
# Modes of `open` are texts too: "rb", "w+b".
_LONGEST_MODE = 4


@dataclass
class KillAt:
    """A tap that kills this process at the `number`-th operation on files in one of `places` during finish.

    An audit hook cannot be taken away again; it does nothing once finish has returned.
    """

    number: int
    places: tuple[str, ...]
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
        if not self.active or event not in _OPERATIONS or not self._concerns(args):
            return
        self.seen += 1
        if self.seen == self.number:
            self.active = False
            announce("fault", phase="finish", what=f"kill at {event}")
            os.kill(os.getpid(), signal.SIGKILL)

    def _concerns(self, args: tuple[Any, ...]) -> bool:
        """Tell whether an operation is on a path in one of the places; what it names by a relative path may be."""
        paths = [os.fsdecode(item) for item in args if isinstance(item, str | bytes | os.PathLike)]
        # The second argument of "open" is its mode, and a relative path may be one below an open folder.
        return any(
            (not os.path.isabs(path) and len(path) > _LONGEST_MODE) or os.path.realpath(path).startswith(self.places)
            for path in paths
        )


def save_old(session: Session, number: int) -> None:
    """Save the checkpoint that will be replaced, at an id for each number."""
    session.save(own_state(0, version=1), session.new_id(f"at{number}"))


def replace_killed(session: Session, number: int) -> int:
    """Save over it and die at the `number`-th operation of finish; returns how many there were, if they were fewer."""
    checkpoint_id = session.new_id(f"at{number}")
    # A store may keep what it has beside the ids, in a file or folder of its own.
    tap = KillAt(number, (os.path.realpath(session.spec.scratch), os.path.realpath(str(checkpoint_id))))
    session.save(
        own_state(0, version=2), checkpoint_id, writer=interpose(session.writer(checkpoint_id), ("finish",), tap)
    )
    if not tap.seen and ADDRESS in os.environ:
        session.excuse("its operations are requests to a store, and the cases about the network fail each of those")
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
