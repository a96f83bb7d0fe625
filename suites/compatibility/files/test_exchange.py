"""A file of torch is a file of torch, whoever wrote it and whoever reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dcp_conformance.harness.laws.verbs import Broken, NotApplicable, described
from dcp_conformance.harness.subject.spec import TORCH_ENGINE
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks
from dcp_conformance.suites.compatibility.files import interop
from dcp_conformance.suites.compatibility.files.reach import reachable

if TYPE_CHECKING:
    from dcp_conformance.suites.compatibility.files import on_ranks_exchange as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.compatibility.files.on_ranks_exchange")

if TYPE_CHECKING:
    from dcp_conformance.suites.compatibility.files.on_ranks_fixtures import facts
else:
    facts = module_on_ranks("dcp_conformance.suites.compatibility.files.on_ranks_fixtures").facts


@pytest.mark.clauses("FMT-16", "FMT-17")
@pytest.mark.parametrize("peer", interop.PEERS)
def test_files_pass_between_implementations(subject: Subject, peer: str) -> None:
    known = subject.alone(facts)
    if known["subject"] == peer:
        raise NotApplicable("the backend is that implementation itself")
    worlds = (1,) if "multi_process" in known["unsupported"] else (1, 2)
    runs = {world: reachable(subject.run(world, on_ranks.exchange, peer)) for world in worlds}
    there = {world: _found(runs[world], "there", f"what it wrote {interop.ranks(world)}") for world in worlds}
    back = {world: _found(runs[world], "back", f"what {peer} wrote {interop.ranks(world)}") for world in worlds}
    interop.report(
        subject, interop.AT_HAND, interop.THIS, peer, [interop.cell(there.get(world, ())) for world in (1, 2)]
    )
    interop.report(
        subject, interop.AT_HAND, peer, interop.THIS, [interop.cell(back.get(world, ())) for world in (1, 2)]
    )
    with subject.promise("FMT-16"):
        for world in worlds:
            interop.never_wrong(back[world])
    with subject.promise("FMT-17"):
        if peer != TORCH_ENGINE:
            raise NotApplicable("judged with torch's own pair; this is for the table")
        for world in worlds:
            _understood(there[world])
            interop.loads(back[world])


def _found(values: list[dict[str, Any]], way: str, what: str) -> list[interop.Loaded]:
    return [
        interop.Loaded(what, rank, value[way]["attempt"], value[way]["unlike"])
        for rank, value in enumerate(values)
        if not value[way]["left_out"]
    ]


def _understood(found: list[interop.Loaded]) -> None:
    """Broken unless torch's own reader loaded what the subject wrote."""
    for one in found:
        if one.attempt.error is not None:
            why = described(one.attempt.error)
            evidence = {"traceback": one.attempt.error.traceback}
            raise Broken(f"torch does not load {one.what}: {why}", kind="not loaded", rank=one.rank, evidence=evidence)
        if one.unlike:
            observed = f"torch loads {one.what} as something else: {one.unlike[0].sentence()}"
            raise Broken(observed, kind="values", rank=one.rank)
