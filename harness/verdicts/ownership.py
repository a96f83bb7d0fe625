"""Which clauses bind a backend. Source of the rules: docs/words.md and docs/blame.md."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from dcp_conformance.harness.contract import Clause

Kind = Literal["owned", "engine", "not-applicable"]

# Offered only on request: absent means "not offered", where every other capability defaults to "supported".
ON_REQUEST = ("extensions",)

_NOT_SUPPLIED = {
    "S": "the backend supplies no storage writer and reader",
    "E": "the backend exports no {functions} of its own",
    "P": "the backend supplies no default planners",
    "F": "the backend does not claim torch's on-disk format (torch_format)",
    "U": "the backend exports no replacement for torch's format utilities",
}


class Supplies(Protocol):
    """What is asked of a backend's Description: plain data, no torch."""

    @property
    def letters(self) -> Collection[str]: ...

    @property
    def functions(self) -> Collection[str]: ...

    @property
    def unsupported(self) -> Mapping[str, str]: ...

    @property
    def offers(self) -> Collection[str]: ...

    @property
    def exports(self) -> Collection[str]: ...


@dataclass(frozen=True)
class Applicability:
    """`owned`: decides the backend's level. `engine`: shown in the engine's column. Else not applicable, and why."""

    kind: Kind
    reason: str = ""
    letters: frozenset[str] = frozenset()  # of an owned clause: those through which it binds


def applicability(clause: Clause, description: Supplies, *, devices: int) -> Applicability:
    """Does `clause` bind the backend, the engine under it, or nobody. `devices`: how many --device has.

    Asked in this order, so that the reason shown is the one that the author chose: what is offered on request only,
    what was opted out of, what the machine lacks, and last whose part of the contract it is.
    """
    reason = _not_offered(clause, description) or _opted_out(clause, description) or _lacking(clause, devices)
    if reason:
        return Applicability("not-applicable", reason)
    # Owned comes before engine: a clause that binds a backend in one of its parts decides its level.
    if letters := binding_letters(clause, description):
        return Applicability("owned", letters=letters)
    if clause.applies & {"E", "P"}:
        return Applicability("engine", _absent(clause, "E", "P"))
    return Applicability("not-applicable", _half_exported(clause, description) or _absent(clause, "S", "F", "U"))


def owned_letters(description: Supplies) -> frozenset[str]:
    """Return the letters that the backend supplies; F needs a storage pair that claims torch's own files.

    Who exports `save` or `load` supplies its default planner too (P), whether or not it exports planner classes. Who
    exports both and no storage pair has a store of its own: what S promises is asked of it through them.
    """
    letters = frozenset(description.letters)
    if _planning(description):
        # A save without a planner argument plans somehow: by what its author chose, so the planner's promises are his.
        letters |= {"P"}
    claims_format = "S" in letters and "torch_format" not in description.unsupported
    if has_own_store(description):
        letters |= {"S"}
    # Torch's format is a promise about files; without a storage pair there are none that anybody could point to.
    return letters if claims_format else letters - {"F"}


def has_own_store(description: Supplies) -> bool:
    """Tell whether the backend is an engine that stores by itself, out of sight of everybody else."""
    return "S" not in description.letters and {"save", "load"} <= set(description.functions)


def binding_letters(clause: Clause, description: Supplies) -> frozenset[str]:
    """Return the letters through which `clause` binds this backend; empty where it does not.

    Ownership is by function: who exports save, load or async_save alone is bound by the clauses about that one, and
    what it does not export is torch's. A clause about named tools binds a planner or a utility only where the backend
    exports all of them.
    """
    letters = clause.applies & owned_letters(description)
    # By function: the author of an async_save is not answerable for torch's load.
    if not set(clause.about) & set(description.functions):
        letters -= {"E"}
    if "P" not in description.letters and not set(clause.about) & _planning(description):
        letters -= {"P"}
    return letters if set(clause.tools) <= set(description.exports) else letters - {"P", "U"}


def _planning(description: Supplies) -> set[str]:
    """Return the functions of the backend's that bring a default planner of their own."""
    return {"save", "load"} & set(description.functions)


def _not_offered(clause: Clause, description: Supplies) -> str:
    if clause.drop_in and "drop_in" not in description.offers:
        return "binds only a drop-in for torch's engine, and the backend does not offer drop_in"
    for capability in clause.capabilities:
        if capability in ON_REQUEST and capability not in description.offers:
            return f"the backend does not offer {capability}"
    return ""


def _opted_out(clause: Clause, description: Supplies) -> str:
    # A clause that needs several ranks asks for multi_process whether or not its table says so.
    needed = [*clause.capabilities, *(["multi_process"] if clause.world > 1 else [])]
    for capability in needed:
        if capability in description.unsupported:
            return f"{capability} is not supported: {description.unsupported[capability]}"
    return ""


def _lacking(clause: Clause, devices: int) -> str:
    return "needs an accelerator: name one with --device" if clause.gpu and devices < 1 else ""


def _half_exported(clause: Clause, description: Supplies) -> str:
    """Say which tools are missing where the backend exports others that the clause is about."""
    missing = sorted(set(clause.tools) - set(description.exports))
    if not missing or len(missing) == len(clause.tools):
        return ""
    own = sorted(set(clause.tools) - set(missing))
    return f"it exports {', '.join(own)}, and the clause is about {', '.join(missing)} too, which would be torch's"


def _absent(clause: Clause, *letters: str) -> str:
    functions = " and no ".join(clause.about)
    return "; ".join(
        _NOT_SUPPLIED[letter].format(functions=functions) for letter in letters if letter in clause.applies
    )
