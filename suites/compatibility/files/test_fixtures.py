"""No checkpoint is lost because torch moved on: what its releases wrote loads, and what does not load is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance import fixtures
from dcp_conformance.harness.laws.verbs import NotApplicable
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks
from dcp_conformance.suites.compatibility.files import interop
from dcp_conformance.suites.compatibility.files.reach import reachable, with_safetensors

if TYPE_CHECKING:
    from dcp_conformance.suites.compatibility.files import on_ranks_fixtures as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.compatibility.files.on_ranks_fixtures")

if TYPE_CHECKING:
    from dcp_conformance.suites.compatibility.files.on_ranks_exchange import load_elsewhere as elsewhere
else:
    elsewhere = module_on_ranks("dcp_conformance.suites.compatibility.files.on_ranks_exchange").load_elsewhere


RELEASES = fixtures.releases()


def those_with(case: str) -> list[str]:
    """The releases that wrote such a case."""
    return [name for name in RELEASES if any(one.name == case for one in fixtures.cases(name))]


@pytest.mark.clauses("FMT-13", "FMT-15", "FMT-16")
@pytest.mark.parametrize("release", RELEASES)
def test_checkpoints_of_a_release_load(subject: Subject, release: str) -> None:
    facts = subject.alone(on_ranks.facts)
    worlds = (1,) if "multi_process" in facts["unsupported"] else (1, 2)
    runs = {world: reachable(subject.run(world, on_ranks.load_release, release)) for world in worlds}
    everything = interop.reported(subject, release, interop.THIS, runs)
    if not everything:
        raise NotApplicable(f"nothing of torch {release} is asked for: {runs[1][0][0]['left_out']}")
    _compare(subject, release, facts["subject"], everything)
    with subject.promise("FMT-16"):
        interop.never_wrong(everything)
    why = interop.beyond(release, facts)
    with subject.promise("FMT-15" if why else "FMT-13"):
        interop.loads(list(interop.tolerated(everything, facts)))
    with subject.promise("FMT-13" if why else "FMT-15"):
        raise NotApplicable(f"torch {release}: {why or 'the promise is that of FMT-13'}")


@pytest.mark.clauses("FMT-16")
def test_single_rank_does_not_pass_for_all(subject: Subject) -> None:
    [loads] = reachable(subject.run(1, on_ranks.load_single_ranks, those_with("rank_local")))
    what = f"{interop.ranks(1)}, of the 2 that wrote it,"
    interop.never_wrong(
        [interop.Loaded(f"{load['case']!r} {what}", 0, load["attempt"], load["unlike"]) for load in loads]
    )


@pytest.mark.clauses("HF-07")
@pytest.mark.worlds(1, 2)
@pytest.mark.parametrize("release", those_with("huggingface"))
def test_huggingface_files_of_a_release_load(subject: Subject, release: str, world: int) -> None:
    found = with_safetensors(subject.run(world, on_ranks.load_huggingface, release))
    interop.loads(interop.all_loaded(found, f"of torch {release} {interop.ranks(world)}"))


def _compare(subject: Subject, release: str, name: str, found: list[interop.Loaded]) -> None:
    """Put into the table who else does not load a release: a reader that is much like torch's shares its limits."""
    if all(one.cell == interop.LOADS for one in found):
        return
    for peer in interop.PEERS:
        if peer != name:
            others = subject.observe(1, elsewhere, release, peer)
            interop.reported(subject, release, peer, {1: others})
