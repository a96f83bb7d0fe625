"""The commands as people call them, on certificates of samples."""

from __future__ import annotations

import json
import tarfile
import time

import pytest

from dcp_conformance import HOME
from dcp_conformance.harness.certificate import files
from dcp_conformance.harness.certificate.contract_pages import Checked, contract_pages
from dcp_conformance.harness.certificate.token import decoded, token_of
from dcp_conformance.harness.commands import COMMANDS, main
from dcp_conformance.harness.commands.rerun import disagreements, sample
from dcp_conformance.harness.contract import Catalogue, load_catalogue
from dcp_conformance.harness.errors import UsageError
from tests.certificate.samples import certificate, clause, eventful, outcome


@pytest.fixture
def report(tmp_path):
    files.write(eventful(), tmp_path / "certificate.json")
    return tmp_path


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_and_refuses_what_it_does_not_know(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main(name, ["--help"])
    assert ended.value.code == 0
    assert main(name, ["--no-such-option"]) == 4
    assert f"dcp-conformance {name}: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("report", "nowhere.json"), ("verify", "nowhere"), ("diff", "nowhere", "nowhere"),
        ("bundle", "FIN-01", "nowhere"), ("known", "new.toml", "--from", "nowhere"), ("replay", "no token"),
        ("explain", "TYPO-99"),
    ],
)  # fmt: skip
def test_bad_input_is_a_sentence_and_exit_code_4(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words[0], words[1:]) == 4
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_report_prints_the_summary_and_writes_the_files(report, capsys):
    assert main("report", [str(report), "--to", str(report / "out")]) == 0
    assert "2 broken promises" in capsys.readouterr().out
    assert {path.name for path in (report / "out").iterdir()} == {
        "index.html", "junit.xml", "summary.md", "badge.svg", "badge.json",
    }  # fmt: skip


def test_a_bundle_holds_the_finding_and_how_to_see_it_again(report, capsys):
    target = report / "bundle.tar.gz"
    assert main("bundle", ["FIN-01", str(report), "--to", str(target)]) == 0
    with tarfile.open(target) as packed:
        texts = {name: packed.extractfile(name).read().decode() for name in packed.getnames()}
    assert "is 0.0, saved was 1.5" in texts["FIN-01/README.txt"]
    assert len(json.loads(texts["FIN-01/findings.json"])) == 2
    assert texts["FIN-01/reproduce.sh"].startswith("#!/bin/sh\ndcp-conformance mypkg --clause FIN-01")
    assert decoded(texts["FIN-01/tokens.txt"].splitlines()[0]).clause == "FIN-01"
    assert main("bundle", ["FIN-01", str(report), "--to", str(target)]) == 4
    assert main("bundle", ["API-10", str(report), "--to", str(report / "other")]) == 4


def test_a_token_says_what_to_run_again_and_where(capsys):
    made = certificate(
        [clause("TYPE-02")], [outcome("TYPE-02")], command="dcp-conformance my.pkg --device cuda", seed=7
    )
    token = token_of(made, "TYPE-02", "a case [1, 'x']")
    assert decoded(token.encoded()) == token
    assert token.words(device="cpu") == [
        "my.pkg", "--seed", "7", "--clause", "TYPE-02", "--case", "a case [1, 'x']",
    ]  # fmt: skip
    assert main("replay", [token.encoded(), "--device", "cpu", "--dry-run"]) == 0
    assert "--case 'a case [1, '\"'\"'x'\"'\"']'" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "dcp1-", "dcp1-AAAA", "dcp1-" + "A" * 5000, "\ud800", "--"])
def test_what_is_no_token_is_refused(text):
    with pytest.raises(UsageError):
        decoded(text)


def test_a_case_that_ends_otherwise_now_is_told(report):
    made = certificate([clause("FIN-01"), clause("FIN-02")], [outcome("FIN-01"), outcome("FIN-02")])
    now = certificate([clause("FIN-01"), clause("FIN-02")], [outcome("FIN-01", "fail"), outcome("FIN-02")])

    def run(words):
        files.write(now, f"{words[words.index('--report-dir') + 1]}/certificate.json")
        return ""

    cases = sample(made, 5, seed=1)
    assert sorted(cases) == [("FIN-01", "fin-01 case"), ("FIN-02", "fin-02 case")] and sample(made, 5, seed=1) == cases
    assert disagreements(made, cases, run) == ["FIN-01, case fin-01 case: pass on the certificate, fail now"]
    with pytest.raises(UsageError, match="could not be run again"):
        disagreements(made, cases, lambda words: "no backend")


def test_the_site_of_the_contract_has_a_page_for_each_clause(tmp_path):
    checked = Checked(tests=("suites/x.py:1 y",), mutants=("forgets",))
    pages = contract_pages(
        Catalogue([clause("FIN-01"), clause("FIN-02", "SHOULD")]), {"FIN-01": checked, "FIN-02": checked}, [eventful()]
    )
    assert set(pages) == {"index.html", "FIN-01.html", "FIN-02.html"}
    assert (
        "suites/x.py:1 y" in pages["FIN-01.html"]
        and "forgets" in pages["FIN-01.html"]
        and "mypkg" in pages["FIN-01.html"]
    )


def test_the_real_contract_becomes_a_site_in_a_new_folder_only(tmp_path, capsys):
    began = time.monotonic()
    assert main("contract", [str(tmp_path / "site")]) == 0
    assert time.monotonic() - began < 30
    clauses = load_catalogue((HOME / "suites").resolve())
    assert len(list((tmp_path / "site").iterdir())) == len(clauses) + 1
    assert main("contract", [str(tmp_path / "site")]) == 4
