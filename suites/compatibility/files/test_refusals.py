"""What is no checkpoint of torch is refused, in words that lead to it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.cluster import ExceptionRecord
from dcp_conformance.harness.laws.verbs import Broken, described, must, must_refuse
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks
from dcp_conformance.suites.compatibility.files.reach import reachable

if TYPE_CHECKING:
    from dcp_conformance.suites.compatibility.files import on_ranks_refusals as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.compatibility.files.on_ranks_refusals")


@pytest.mark.clauses("RMD-04", "FMT-18")
def test_metadata_of_another_kind_is_refused_by_name(subject: Subject) -> None:
    [loads] = reachable(subject.run(1, on_ranks.load_foreign_metadata))
    with subject.promise("RMD-04"):
        for load in loads:
            what = f"a load whose metadata is {load['what']}"
            made_up = load["unlike"][0].sentence() if load["unlike"] else "it gave the right values"
            must(not load["attempt"].ok, otherwise=f"{what} returned, and {made_up}", kind="not refused")
            must_refuse(load["attempt"], what, rank=0)
    with subject.promise("FMT-18"):
        for load in loads:
            error = load["attempt"].error
            if error is not None and not _leads_there(error, load["place"], load["unknown"]):
                told = f"with {load['what']} as metadata it raised {described(error)}, which leads nowhere"
                raise Broken(told, kind="not named", evidence={"traceback": error.traceback})


def _leads_there(error: ExceptionRecord, place: str, unknown: list[str]) -> bool:
    """Whether an error names the checkpoint, its metadata file, or what in that is unknown."""
    # Not `self.metadata`, which stands in many a traceback that an error carries as its text.
    texts = "\n".join(_texts(error))
    return any(word in texts for word in (place, *unknown)) or bool(re.search(r"(?<!\w)\.metadata\b", texts))


def _texts(error: ExceptionRecord) -> list[str]:
    inner = [*(error.failures or {}).values(), *([error.cause] if error.cause is not None else [])]
    return [error.text, *(text for item in inner for text in _texts(item))]
