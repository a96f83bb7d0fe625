"""Plain data that both sides share: which parts are under test, what a scenario observed. No torch, no pytest."""

from __future__ import annotations

from dataclasses import dataclass, field

TORCH_ENGINE = "torch.distributed.checkpoint"
# How events mark a part of torch's that a check, and not the engine, brought into play.
GIVEN_BY_CHECK = ", given by the check"
# The two calling styles of DCP: the id in the storage's constructor, or passed along with the storage.
STYLES = ("constructor", "passed")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A backend as it was named, with the options for its writer; resolved on each rank."""

    reference: str
    # Never part of a repr: tracebacks show reprs, and options may be credentials.
    options: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    # Capabilities that were seen to be missing, each with what was seen, beside those that the backend opted out of.
    lacks: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class SubjectSpec:
    """Whose storage runs under whose engine, and where: everything that a rank needs to build a Session."""

    under_test: str
    storage: Part
    engine: Part
    #: The folder below which ids are made.
    scratch: str
    #: A name that no other trial has.
    place: str
    #: The caller's current folder, which names of modules may refer to.
    folder: str

    def owner(self, part: Part) -> str:
        """Say how events name a part: `backend` for what is under test, else the name of the stand-in."""
        return "backend" if part.reference == self.under_test else part.reference
