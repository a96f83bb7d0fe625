"""Damage that one rank alone meets is everybody's error, and the error says where it lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.observations import Attempt
from dcp_conformance.harness.laws.shared_failures import failures_of
from dcp_conformance.harness.laws.verbs import Broken, NotApplicable, Untestable, described, mentions, must, must_refuse
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.durability.damage import on_ranks_damaged_ranks as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.durability.damage.on_ranks_damaged_ranks")


@pytest.mark.clauses("CORR-01", "CORR-02", "CORR-07", "CORR-08")
@pytest.mark.parametrize("way", ("cut in half", "emptied", "deleted"), ids=("cut", "emptied", "deleted"))
@pytest.mark.parametrize("content", ("tensor", "object"))
def test_damage_met_by_one_rank_fails_all_and_is_named(subject: Subject, content: str, way: str) -> None:
    subject.observe(2, on_ranks.save_by_rank, content)
    found = subject.alone(on_ranks.object_read_by, 2, 1, content)
    if not found["name"]:
        raise Untestable(f"no stored object was found without which rank 1 cannot load its {content}")
    subject.observe(1, on_ranks.damage_object, found["name"], way)
    attempts = subject.observe(2, on_ranks.load_by_rank, content)
    asked = f"a load while {found['name']!r}, which rank 1 needs, is {way}"
    for clause, own in (("CORR-01", way == "deleted"), ("CORR-02", way != "deleted")):
        with subject.promise(clause):
            if not own:
                raise NotApplicable("it is about damage of another kind")
            must(any(not attempt.ok for attempt in attempts), otherwise=f"{asked} returned", kind="not noticed", rank=1)
    with subject.promise("CORR-08"):
        for rank, attempt in enumerate(attempts):
            must_refuse(attempt, asked, rank=rank)
    with subject.promise("CORR-07"):
        for rank, attempt in enumerate(attempts):
            if attempt.ok:
                raise NotApplicable("no error tells of the damage, which breaks another promise")
            tells_where(attempt, rank, key="own1", name=found["name"].rsplit("/", 1)[-1], failed=1)


def tells_where(attempt: Attempt, rank: int, *, key: str, name: str, failed: int) -> None:
    """Broken unless an error names the key, the stored object and the rank that met the damage."""
    assert attempt.error is not None
    error = attempt.error
    unsaid = [what for what, word in (("the key", key), ("the stored object", name)) if not mentions(error, word)]
    if failed not in failures_of(attempt) and not mentions(error, f"rank {failed}"):
        unsaid.append("the rank")
    if unsaid:
        raise Broken(
            f"the error about the damaged object {name!r} of the key {key!r} on rank {failed} does not name "
            f"{' or '.join(unsaid)}: {described(error)}",
            kind="not named", rank=rank, evidence={"traceback": error.traceback},
        )  # fmt: skip
