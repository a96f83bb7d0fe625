"""A save while the network or the store fails at one of its requests: what save says, and what loads."""

from __future__ import annotations

import pytest

from dcp_conformance.harness.laws.verbs import Broken
from dcp_conformance.harness.laws.versions import must_not_mix, must_still_load
from dcp_conformance.harness.subject.subject import Subject
from dcp_conformance.suites.durability.network.network_faults import (
    Point,
    ended_in_time,
    left_nothing,
    points,
    repeated_the_store,
    survived_and_told,
)

PASSING = ("refused", "cut", "answer lost", "answer cut", "busy", "limited", "slow")
LASTING = ("broken", "expired", "down")
SAID = {"broken": ("InternalError", "500"), "expired": ("ExpiredToken", "403", "Forbidden", "AccessDenied")}


@pytest.mark.below_storage
@pytest.mark.clauses("DUR-15", "DUR-02", "DUR-16")
@pytest.mark.parametrize("kind", (*PASSING, *LASTING))
def test_save_to_a_new_id_over_a_failing_network(subject: Subject, kind: str) -> None:
    made = points(subject, "new", kind)
    told(subject, made)
    with subject.promise("DUR-02"):
        for point in made:
            loads_one_version(point)


@pytest.mark.below_storage
@pytest.mark.clauses("DUR-15", "DUR-04", "DUR-05", "FIN-05", "DUR-16")
@pytest.mark.parametrize("kind", (*PASSING, *LASTING))
def test_overwrite_over_a_failing_network(subject: Subject, kind: str) -> None:
    subject.needs("overwrite")
    made = points(subject, "overwrite", kind)
    told(subject, made)
    for clause in ("DUR-04", "FIN-05"):
        with subject.promise(clause):
            subject.needs("crash_safe_overwrite")
            for point in made:
                old_or_new(point)
    with subject.promise("DUR-05"):
        for point in made:
            loads_one_version(point)


@pytest.mark.below_storage
@pytest.mark.clauses("DUR-16")
def test_save_to_a_store_that_fell_silent_ends(subject: Subject) -> None:
    ended_in_time(points(subject, "new", "silent", most=1))


@pytest.mark.below_storage
@pytest.mark.clauses("DUR-17")
@pytest.mark.parametrize("kind", ("down", "expired"))
def test_next_save_clears_up_after_one_that_was_cut_off(subject: Subject, kind: str) -> None:
    subject.needs("overwrite")
    left_nothing(points(subject, "new", kind, again=True))


@pytest.mark.below_storage
@pytest.mark.clauses("DUR-18")
@pytest.mark.parametrize("kind", sorted(SAID))
def test_error_repeats_what_the_store_said(subject: Subject, kind: str) -> None:
    repeated_the_store(points(subject, "new", kind), SAID[kind])


def told(subject: Subject, made: list[Point]) -> None:
    """The laws about save itself."""
    with subject.promise("DUR-15"):
        survived_and_told(made)
    with subject.promise("DUR-16"):
        ended_in_time(made)


def loads_one_version(point: Point) -> None:
    """Broken where a load returns a mixture."""
    _at(point, must_not_mix)


def old_or_new(point: Point) -> None:
    """Broken unless the old or the new checkpoint loads, whole."""
    _at(point, must_still_load)


def _at(point: Point, law: object) -> None:
    assert callable(law)
    try:
        law(point.found)
    except Broken as broken:
        raise Broken(
            f"{point.where()}, and {broken.observed}", kind=broken.kind, rank=0, evidence=broken.evidence
        ) from None
