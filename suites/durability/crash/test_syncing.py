"""What a save has on the disk, and when: laws about a recording of all its file operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dcp_conformance.harness.laws.verbs import NotApplicable, Untestable
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks
from dcp_conformance.harness.subject.trusted import observed, recording
from dcp_conformance.suites.durability.crash.synced import (
    data_before_commit,
    everything_synced,
    names_synced,
    returned_at,
)

if TYPE_CHECKING:
    from dcp_conformance.suites.durability.crash import on_ranks_syncing as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.durability.crash.on_ranks_syncing")


@pytest.mark.below_storage
@pytest.mark.clauses("DUR-06")
@pytest.mark.worlds(1, 2)
def test_data_is_on_the_disk_before_it_is_committed(subject: Subject, world: int) -> None:
    saves = recorded_saves(subject, world)
    named = [(save["place"], save["path"]) for save in saves]
    commits = subject.alone(on_ranks.commits, world, named, fresh=True)
    for save, commit in zip(saves, commits, strict=True):
        if commit is None:
            raise Untestable("what the recording gives when it is played back does not load")
        data_before_commit(save["recording"], commit, save["bytes"])


@pytest.mark.below_storage
@pytest.mark.clauses("DUR-07", "DUR-08")
@pytest.mark.worlds(1, 2)
def test_everything_is_on_the_disk_when_save_returns(subject: Subject, world: int) -> None:
    saves = recorded_saves(subject, world)
    subject.alone(on_ranks.commits, world, [(save["place"], save["path"]) for save in saves[:1]], fresh=True)
    for save in saves:
        end = returned_at(save["recording"], world)
        with subject.promise("DUR-07"):
            everything_synced(save["recording"], end)
        with subject.promise("DUR-08"):
            names_synced(save["recording"], end)


def recorded_saves(subject: Subject, world: int) -> list[dict[str, Any]]:
    """A recorded save for each option set of the writer."""
    saves = observed(subject.run(world, on_ranks.recorded_saves, fresh=True))[0]
    if isinstance(saves, str):
        raise NotApplicable(f"it opted out of multi_process: {saves}")
    return [{**save, "recording": recording(subject, save["path"])} for save in saves]
