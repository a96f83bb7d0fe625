"""Checkpoints of other times still load, and what was done for old ones is done for nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import must, must_match, must_refuse
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks
from dcp_conformance.suites.compatibility.files.reach import reachable

if TYPE_CHECKING:
    from dcp_conformance.suites.compatibility.files import on_ranks_legacy as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.compatibility.files.on_ranks_legacy")


@pytest.mark.clauses("FMT-08")
def test_older_class_of_tensor_properties_loads(subject: Subject) -> None:
    must_match(reachable(subject.run(1, on_ranks.load_older_properties)))


# Every few releases add a field (2.4, 2.7, 2.9, 2.15), and the protocol is the default of the Python that writes.
@pytest.mark.clauses("FMT-15")
@pytest.mark.parametrize("what", ["field", "2", "5"], ids=["unknown field", "protocol 2", "protocol 5"])
def test_metadata_of_later_writers_loads(subject: Subject, what: str) -> None:
    must_match(reachable(subject.run(1, on_ranks.load_later_metadata, what)))


@pytest.mark.clauses("FMT-10")
def test_layout_of_2_3_loads_into_a_nested_template(subject: Subject) -> None:
    must_match(reachable(subject.run(1, on_ranks.load_layout_of_2_3)))


@pytest.mark.clauses("FMT-11")
def test_leaf_of_today_is_not_taken_for_a_legacy_dict(subject: Subject) -> None:
    (attempt, changed) = subject.alone(on_ranks.load_string_into_dict)
    what = f"loading a string into a dict ({changed[0].sentence() if changed else 'left as it was'})"
    must_refuse(attempt, what, rank=0)


@pytest.mark.clauses("FMT-12")
def test_legacy_load_leaves_the_layout_of_later_saves_alone(subject: Subject) -> None:
    [(before, after)] = reachable(subject.run(1, on_ranks.keys_around_a_legacy_load))
    must(bool(before), otherwise="its saves leave no file .metadata that lists keys", kind="no keys")
    must(
        before == after, otherwise=f"after loading a legacy checkpoint it saves the keys {after}, before that {before}"
    )
