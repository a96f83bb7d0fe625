"""The real thing: an ext4 file system loses its power after save has returned, and what was saved is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dcp_conformance.harness.laws.verbs import Broken, NotApplicable, must_return, must_succeed, needs_reached
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.durability.power import on_ranks_power as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.durability.power.on_ranks_power")

OLD, NEW = 1, 2


@pytest.mark.below_storage
@pytest.mark.clauses("DUR-13", "DUR-14")
def test_saved_checkpoint_outlives_a_power_cut_on_ext4(subject: Subject) -> None:
    outcomes = subject.run(1, on_ranks.cut_after_return, fresh=True, timeout=60.0)
    [observed] = must_return(outcomes)
    if "impossible" in observed:
        raise NotApplicable(f"no power can be cut here: {observed['impossible']}")
    needs_reached(outcomes, "power", (0,))
    found = {cut: subject.alone(on_ranks.what_loads, *cut, fresh=True) for cut in observed["cuts"]}
    rows = [(kind, f"{seconds:g} s after", ended(each)) for (kind, seconds), each in found.items()]
    subject.table("Power cut after save had returned, on ext4", ("save", "cut", "the load gives"), rows)
    for (kind, seconds), each in found.items():
        what = f"a save ({kind}), {seconds:g} s before the power was cut"
        with subject.promise("DUR-13"):
            whole_or_error(each, what)
        with subject.promise("DUR-14"):
            new_is_there(each, what)


def ended(found: dict[str, Any]) -> str:
    """What a load gave, in a few words."""
    unlike = found["unlike"]
    if not found["attempt"].ok:
        return "an error"
    if not unlike[NEW]:
        return "the new version"
    return "neither version" if unlike[OLD] else "the old version"


def whole_or_error(found: dict[str, Any], what: str) -> None:
    """Broken if the load gave a state that was never saved."""
    if ended(found) == "neither version":
        raise Broken(f"of what {what}, had stored, {found['unlike'][NEW][0]}", kind="values", rank=0)


def new_is_there(found: dict[str, Any], what: str) -> None:
    """Broken unless the load gave what save had returned for."""
    attempt = found["attempt"]
    if attempt.error is not None:
        must_succeed(attempt, f"loading what {what}, had stored", rank=0)
    if found["unlike"][NEW]:
        said = found["unlike"][NEW][0]
        observed = f"of what {what}, had stored, {ended(found)} was found: {said}"
        raise Broken(observed, kind="not durable", rank=0)
