"""A key is only a key."""

from __future__ import annotations

import pytest

from dcp_conformance.harness.laws.verbs import holds, returned, same
from dcp_conformance.harness.subject.subject import Subject, scenarios

on_ranks = scenarios("dcp_conformance.suites.security.on_ranks_keys")


@pytest.mark.clauses("SEC-05")
def test_keys_never_lead_out_of_the_checkpoint(subject: Subject) -> None:
    [(differences, strays)] = returned(subject.run(1, on_ranks.save_and_load_hostile_keys))
    same([differences])
    holds(not strays, f"saving created {strays} outside the checkpoint", kind="stray file")
