"""Ids of earlier releases keep their meaning: a clause that was renamed or split is found by its old id."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcp_conformance.harness.contract import Catalogue, load_catalogue, renamed_in
from dcp_conformance.harness.errors import UsageError
from dcp_conformance.harness.verdicts.known_failures import load

SUITES = Path(__file__).resolve().parents[2] / "suites"
OURS = load_catalogue(SUITES)
RENAMED = Catalogue(OURS, {"OLD-01": ("FIN-01",), "OLD-02": ("TYPE-02", "TYPE-15")})


def test_old_ids_lead_to_those_of_now():
    assert RENAMED.current(("OLD-02", "FIN-01", "OLD-01")) == ("TYPE-02", "TYPE-15", "FIN-01")
    with pytest.raises(UsageError, match="OLD-02 was renamed: it is TYPE-02 and TYPE-15 now"):
        RENAMED["OLD-02"]


def test_known_failures_follow(tmp_path):
    place = tmp_path / "known.toml"
    place.write_text('[[known]]\nclause = "OLD-02"\nreason = "so it is"\n')
    known = load(place).current(RENAMED)
    assert known.unknown(RENAMED) == []
    assert known.expected("TYPE-15", "a case") is not None


@pytest.mark.parametrize("text", ["OLD-01 = 3", "OLD-01 = []", 'OLD-01 = ["x"]', "OLD-01 = [1]", "["])
def test_an_unusable_map_is_refused(text, tmp_path):
    (tmp_path / "renamed.toml").write_text(text)
    with pytest.raises(UsageError, match=r"renamed\.toml"):
        renamed_in(tmp_path / "renamed.toml")


def test_our_map_leads_from_what_is_gone_to_what_is_there():
    for old, now in OURS.renamed.items():
        assert old not in OURS
        assert all(name in OURS for name in now)
