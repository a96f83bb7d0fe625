"""What a scenario on ranks of its own leaves behind: told, unless the device meshes that it made may have left it."""

from __future__ import annotations

from typing import Any

import pytest

from dcp_conformance.harness.cluster import Outcome, Returned
from dcp_conformance.harness.subject.spec import Part, SubjectSpec
from dcp_conformance.harness.subject.subject import Subject

LEFT = (
    "The thread 'pt_gloo_loop' is still running.",
    "The child process 12 (python -c x) is still running.",
    "The process 13 (sh), started by a rank, is still running without its parent.",
    "/tmp/data.part is still open (descriptor 7).",
    "socket:[99] is still open (descriptor 8).",
    "The environment variable X was set.",
    "The child process 14 (python -c from dcp_conformance.harness.recording.supervisor import main;) is still running.",
)


class Ranks:
    """One rank that leaves all of LEFT behind."""

    def run(self, world_size: int, function: str, *args: Any, **options: Any) -> list[Outcome]:
        return [Returned(rank=0, leftovers=LEFT, value=None)]


@pytest.mark.parametrize(("fresh", "told"), ((False, LEFT), (True, LEFT[1:4])))
def test_leftovers_on_fresh_ranks_are_those_of_no_mesh(fresh: bool, told: tuple[str, ...]) -> None:
    part = Part(reference="mine")
    spec = SubjectSpec(under_test="mine", storage=part, engine=part, scratch="/s", place="p", folder="/")
    subject = Subject(Ranks(), spec, ())
    subject.run(1, "module:function", fresh=fresh)
    assert subject.leftovers == [f"rank 0: {text}" for text in told]
