"""Whose failure is it: the table of docs/blame.md, each row with a sentence for the author of the backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dcp_conformance.harness.subject.spec import GIVEN_BY_CHECK
from dcp_conformance.harness.verdicts.verdict import Column, Verdict


@dataclass(frozen=True)
class Blame:
    """A decision: the verdict and the blame for the CaseOutcome, and the sentence that goes into its reason."""

    verdict: Verdict
    blame: Column | None
    sentence: str


def decide(
    *,
    control_failed: bool | None,
    second_failed: bool | None,
    engine: str = "torch's engine",
    second: str = "a second engine",
    trait: str = "",
    wrong_values: bool = False,
) -> Blame:
    """Decide a storage clause that failed under an engine which the backend does not own.

    `control_failed`: did the plain control pair fail in the same case under the same engine; `second_failed`: did
    the backend fail in the same case under another engine. None means that this run could not be judged (no second
    engine, or the extra run was itself untestable). `trait` is the lawful trait of the backend that provoked the
    engine, where the harness knows it. `wrong_values`: the backend's own code wrote and read, and other values came
    back; that only one of two engines asks in a way that shows it is no excuse for a storage. Not to be asked about
    faults below the storage API: use `below_storage`.
    """
    # The order is that of what each answer leaves open: without a second engine only the control can speak.
    if second_failed is None:
        return _without_second(control_failed, engine)
    # Before the general row, which would put wrong values on an engine that gives right ones with another storage. For
    # a silent corruption the doubt goes against the storage: a level held for wrong values is the worst that can be.
    if not second_failed and control_failed is False and wrong_values and not trait:
        return _backend(
            f"the control pair gives the right values under {engine}, and the backend under {second} only: what "
            f"{engine} asks of it is lawful, and what it wrote or read is wrong."
        )
    if not second_failed:
        return Blame(Verdict.FAIL, "engine", _capital(_engine_sentence(control_failed, engine, second, trait)))
    # The engine has a defect, and yet the backend fails where the engine has none: both are true, and one is the
    # author's.
    if control_failed:
        return _backend(
            f"{engine} has a defect here too (the control pair fails under it), but the backend also fails under "
            f"{second}: the failure is the backend's, and the engine's defect masked it."
        )
    held = "the control pair passes under the same engine and " if control_failed is False else ""
    return _backend(f"{held}the backend fails under {second} too: the failure is the backend's.")


def below_storage() -> Blame:
    """Blame the backend: a fault below the storage API (system call, stored byte, network) is no engine's."""
    return _backend("the fault was below the storage API, where no engine takes part: the failure is the backend's.")


def own_functions(functions: Sequence[str]) -> Blame:
    """Blame the backend's own functions: the failure goes away as soon as torch's stand in their place."""
    return _backend(f"with torch's own functions in place of the backend's {_joined(functions)} the promise is kept.")


def once_only() -> Blame:
    """Blame the backend for a failure that the same pair does not repeat: what hangs on history is no engine's."""
    return _backend(
        "the failure did not repeat when the same pair ran the same case again: it depends on what went before, "
        "which was the backend's own code."
    )


def delegating(*, control_failed: bool | None, engine: str = "torch's engine", parts: Sequence[str] = ()) -> Blame:
    """Decide an engine or planner clause of a backend whose own save, load or async_save entered torch's engine.

    parts: the parts of torch's engine that took part, by name; those that the check gave are marked so.
    """
    # All, not any: one part that the engine chose itself makes the sentence "the check gave it" false.
    given = bool(parts) and all(part.endswith(GIVEN_BY_CHECK) for part in parts)
    calls = "the check gave it" if given else "the backend's own entry point calls"
    if parts:
        engine = f"{engine} ({_joined(parts)})"
    if control_failed:
        return Blame(
            Verdict.FAIL,
            "engine",
            f"{_capital(calls)} {engine}, which fails in the same way with the control pair: reported under {engine}.",
        )
    if control_failed is None:
        return _undecided(f"{calls} {engine}, and the control pair could not be judged")
    return _backend(f"{engine} keeps the promise with the control pair: the failure is the backend's.")


def known_of_torch(reason: str, defect: str = "") -> str:
    """What is added where torch's known failures list what torch's engine is blamed for."""
    return f"It is a known failure of torch's: {reason}{f' ({defect})' if defect else ''}."


def _without_second(control_failed: bool | None, engine: str) -> Blame:
    if control_failed is False:
        return _backend(
            f"the control pair passes under {engine}, and there is no second engine to ask: "
            "the failure counts as the backend's."
        )
    what = f"the control pair fails under {engine} too" if control_failed else "the control pair could not be judged"
    return _undecided(what)


def _engine_sentence(control_failed: bool | None, engine: str, second: str, trait: str) -> str:
    if control_failed is False:
        provoked = f"by a lawful trait of the backend ({trait})" if trait else "by a lawful trait of the backend"
        return (
            f"the control pair passes under {engine} and the backend passes under {second}: "
            f"the failure is the engine's, provoked {provoked}."
        )
    also = "the control pair fails under it in the same case, and " if control_failed else ""
    return f"the failure is that of {engine}: {also}the backend passes under {second}."


def _backend(sentence: str) -> Blame:
    return Blame(Verdict.FAIL, "backend", _capital(sentence))


def _undecided(why: str) -> Blame:
    return Blame(
        Verdict.UNTESTABLE,
        None,
        _capital(f"{why}, and no second engine can tell them apart: install one, for instance reference_impl."),
    )


def _joined(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
