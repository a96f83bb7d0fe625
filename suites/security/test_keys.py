"""A key is only a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import must, must_match
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.security import on_ranks_keys as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.security.on_ranks_keys")


@pytest.mark.clauses("SEC-05")
def test_keys_never_lead_out_of_the_checkpoint(subject: Subject) -> None:
    (differences, strays) = subject.alone(on_ranks.save_and_load_hostile_keys)
    must_match([differences])
    must(not strays, otherwise=f"saving created {strays} outside the checkpoint", kind="stray file")
