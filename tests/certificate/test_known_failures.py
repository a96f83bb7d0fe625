from __future__ import annotations

import datetime

import pytest

from dcp_conformance import HOME
from dcp_conformance.harness.contract import Catalogue, load_catalogue
from dcp_conformance.harness.errors import UsageError
from dcp_conformance.harness.run.options import SHIPPED, parse
from dcp_conformance.harness.verdicts.known_failures import KnownFailure, load
from tests.certificate.samples import clause, entries, known, outcome

CATALOGUE = Catalogue([clause("FIN-01"), clause("FIN-02"), clause("DUR-01", level="durability")])
COLLECTED = {"fin-01 case": ("FIN-01",), "fin-02 [a]": ("FIN-02",), "fin-02 [b]": ("FIN-02",)}
SUITES = (HOME / "suites").resolve()
MARCH = datetime.date(2027, 3, 1)


def problems(listed, outcomes=(), *, collected=COLLECTED, levels=("core",), partial=False):
    return listed.problems(outcomes, collected=collected, catalogue=CATALOGUE, levels=levels, partial=partial)


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "known.toml"
        path.write_text(text)
        return path

    return write


def refusal(path) -> str:
    with pytest.raises(UsageError) as caught:
        load(path)
    return str(caught.value).replace(str(path.parent), "...")


def test_a_file_is_read_with_its_places(written):
    path = written(
        '# ours\n[[known]]\nclause = "FIN-01"\nreason = "no rename"\n\n'
        '[[known]]\nclause = "FIN-02"\ncase = "fin-02 [a]"\nreason = "slow"\nexpires = 2027-03-01\ndefect = "D-1"\n'
    )
    one, other = load(path).entries
    assert one == KnownFailure(clause="FIN-01", reason="no rename", where=f"{path}:2, entry 1")
    assert (other.case, other.expires, other.defect) == ("fin-02 [a]", MARCH, "D-1")
    assert other.where == f"{path}:6, entry 2"
    assert KnownFailure.from_data(other.as_data()).as_data() == other.as_data()


def test_what_has_expired_today_counts_without_being_asked(written):
    path = written('[[known]]\nclause = "FIN-01"\nreason = "r"\nexpires = 2001-01-01')
    assert load(path).expected("FIN-01", "x") is None
    assert load(path, today=datetime.date(2000, 1, 1)).expected("FIN-01", "x") is not None


def test_an_empty_file_knows_nothing(written):
    assert load(written("# nothing is known to fail\n")).entries == ()


def test_days_may_be_texts(written):
    entry = '[[known]]\nclause = "FIN-01"\nreason = "r"\nexpires = '
    for day in ('"2027-03-01"', "2027-03-01T10:00:00"):
        assert load(written(entry + day)).entries[0].expires == MARCH


def test_an_entry_has_effect_beside_the_releases_that_it_names(written):
    entry = '[[known]]\nclause = "FIN-01"\nreason = "r"\ntorch = '
    path = written(f'{entry}"<2.12"\n{entry}">=2.12,<2.14"\n')
    releases = ("2.9.1+cu128", "2.11.0", "2.12.0.dev20260101", "2.13.0+cpu", "2.14.1")
    assert [[kept.where[-1] for kept in load(path, torch=name).entries] for name in releases] == [
        ["1"], ["1"], ["2"], ["2"], []
    ]  # fmt: skip
    for wrong in ('"soon"', '" "', "2.12"):
        assert "torch names no releases" in refusal(written(entry + wrong))


def test_what_torch_breaks_is_listed_for_each_release():
    catalogue = load_catalogue(SUITES)
    for release in ("2.9.1", "2.10.0", "2.11.0", "2.12.1", "2.13.0", "2.14.1", "2.15.0"):
        listed = load(SHIPPED["torch.distributed.checkpoint"], torch=release)
        assert listed.entries and all(entry.clause in catalogue for entry in listed.entries)


def test_torchs_own_list_is_chosen_by_itself_and_given_up_by_none(tmp_path):
    given = {"backend": "torch.distributed.checkpoint", "known_failures": None}
    assert _options(tmp_path, **given).known_failures == SHIPPED["torch.distributed.checkpoint"]
    assert "is known to break" in _options(tmp_path, **given).expectation[0]
    for other in ({"known_failures": "none"}, {"backend": "mypkg"}):
        options = _options(tmp_path, **{**given, **other})
        assert (options.known_failures, options.expectation) == (None, ())


def _options(folder, **given):
    usual = {"backend_option": [], "level": [], "clause": [], "ranks": "1", "device": "cpu", "seed": "0"}
    return parse({"report_dir": "out", **usual, **given}.get, folder)


def test_every_problem_is_said_at_once_with_its_place(written):
    path = written(
        '[[known]]\nclauses = "FIN-01"\nreason = "r"\n'
        '[[known]]\nclause = "FIN-01"\nreason = " "\n'
        '[[known]]\nclause = "FIN-01"\nreason = "r"\nexpires = "soon"\ncase = 3\ndefect = 4\n'
        '[[known]]\nclause = "FIN-02"\nreason = "r"\n'
        '[[known]]\nclause = "FIN-02"\nreason = "r"\nzzz = 1\n'
        '[[known]]\nclause = "FIN-02"\nreason = "r"\n'
        "[other]\nx = 1\n"
    )
    assert refusal(path).splitlines() == [
        "Known failures cannot be used:",
        "  .../known.toml: unknown name 'other' at the top of the file. Every entry begins with a line [[known]].",
        "  .../known.toml:1, entry 1: unknown field 'clauses'. Did you mean 'clause'?",
        '  .../known.toml:1, entry 1: no clause. Write clause = "FIN-07", the id of the clause that is broken.',
        '  .../known.toml:4, entry 2: no reason. Write reason = "...", a sentence that says why this fails today.',
        "  .../known.toml:7, entry 3: case must be the name of a case; leave it out for every case of the clause.",
        "  .../known.toml:7, entry 3: defect must be the id of a defect in quotes; leave it out where there is none.",
        "  .../known.toml:7, entry 3: expires is not a day. Write expires = 2027-03-01.",
        "  .../known.toml:16, entry 5: unknown field 'zzz'. Fields are clause, case, reason, expires, defect, torch.",
        "  .../known.toml:20, entry 6: FIN-02 is listed already (.../known.toml:13, entry 4). Keep one of them.",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("clause = FIN-01", "is not valid TOML"),
        ('known = "FIN-01"', "write [[known]], with two brackets"),
        ('[known]\nclause = "FIN-01"\nreason = "r"', "write [[known]], with two brackets"),
        ('known = [{clause = "A", reason = "r"}, {}]', "entry 2: no clause"),
    ],
)
def test_what_is_no_such_file_is_refused(written, text, said):
    assert said in refusal(written(text))


def test_a_missing_file_is_refused(tmp_path):
    assert "cannot read .../none.toml: No such file" in refusal(tmp_path / "none.toml")


def test_the_entry_of_a_case_comes_before_that_of_the_clause():
    whole, one = known("FIN-02"), known("FIN-02", "fin-02 [a]")
    listed = entries(whole, one)
    assert listed.expected("FIN-02", "fin-02 [a]") is one
    assert listed.expected("FIN-02", "fin-02 [b]") is whole
    assert listed.expected("FIN-01", "fin-01 case") is None


def test_an_expected_failure_is_no_problem():
    assert problems(entries(known()), [outcome(verdict="fail")]) == []


def test_an_unexpected_pass_is_a_problem():
    assert problems(entries(known()), [outcome()]) == [
        "known.toml:1, entry 1: FIN-01 passes now, though it is listed as a known failure (no rename). "
        "Remove the entry, so that the promise is kept from now on."
    ]


def test_a_clause_entry_is_stale_only_if_no_case_fails():
    outcomes = [outcome("FIN-02", case="fin-02 [a]"), outcome("FIN-02", "hang", case="fin-02 [b]")]
    assert problems(entries(known("FIN-02")), outcomes) == []
    assert len(problems(entries(known("FIN-02", "fin-02 [a]")), outcomes)) == 1


def test_a_clause_entry_is_not_stale_where_only_some_of_its_cases_ran():
    assert problems(entries(known("FIN-02")), [outcome("FIN-02", case="fin-02 [a]")], partial=True) == []
    assert (
        len(problems(entries(known("FIN-02", "fin-02 [a]")), [outcome("FIN-02", case="fin-02 [a]")], partial=True)) == 1
    )


@pytest.mark.parametrize("verdict", ["untestable", "harness-error", "not-applicable"])
def test_what_could_not_be_judged_is_no_unexpected_pass(verdict):
    assert problems(entries(known()), [outcome(verdict=verdict)]) == []


def test_an_entry_that_matches_nothing_is_a_problem():
    assert problems(entries(known("FIN-02", "fin-02 [c]"))) == [
        "known.toml:1, entry 1: the entry for FIN-02, case fin-02 [c] matches nothing. "
        "Its cases include fin-02 [b]; fin-02 [a]."
    ]
    (sentence,) = problems(entries(known("FIN-01")), collected={})
    assert sentence.endswith("matches nothing: no case checks this clause. Remove it.")


def test_an_unknown_clause_is_a_problem_even_on_a_narrowed_run():
    (sentence,) = problems(entries(known("FIN-10")), partial=True)
    assert sentence == (
        "known.toml:1, entry 1: there is no clause FIN-10. Did you mean FIN-02 or FIN-01? "
        "Correct the entry or remove it."
    )


def test_entries_for_what_was_not_selected_are_left_alone():
    assert problems(entries(known("FIN-01")), collected={}, partial=True) == []
    assert problems(entries(known("DUR-01"))) == []
    assert len(problems(entries(known("DUR-01")), levels=("core", "durability"))) == 1


def test_an_expired_entry_is_a_problem_and_covers_nothing():
    entry = known(expires=MARCH)
    before = entries(entry, today=MARCH - datetime.timedelta(days=1))
    after = entries(entry, today=MARCH)
    failing = [outcome(verdict="fail")]
    assert (before.expected("FIN-01", "x"), problems(before, failing)) == (entry, [])
    assert after.expected("FIN-01", "x") is None
    assert problems(after, failing) == [
        "known.toml:1, entry 1: the entry for FIN-01 expired on 2027-03-01. "
        "Mend the defect, or set a new day with a new reason."
    ]
