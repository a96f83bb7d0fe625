"""What a caller in CI relies on: exit codes, files, and that nothing bad reads as green."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.plugin.command import ROOT, certify

QUICK = ("--clause", "FIN-12")


def backend(name: str) -> str:
    return f"{ROOT / 'tests' / 'plugin' / 'backends.py'}:{name},Reader"


def test_kept_clause_of_a_narrowed_run_is_0_and_says_partial(tmp_path: Path) -> None:
    ended = certify(tmp_path, backend("Sound"), *QUICK)
    assert ended.code == 0, ended.text
    assert ended.clause("FIN-12")["standing"] == "pass"
    assert ended.certificate is not None and ended.certificate["run"]["partial"]
    assert "Partial run" in ended.text and (tmp_path / "dcp-report" / "junit.xml").exists()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_broken_must_is_1_with_the_four_sentences(tmp_path: Path) -> None:
    ended = certify(
        tmp_path,
        backend("Lossy"),
        "--clause",
        "TYPE-02",
        "--case",
        "ordinary_dtype_comes_back_bit_for_bit[int8-passed]",
        "-v",
    )
    assert ended.code == 1, ended.text
    for part in ("promised", "observed", "evidence", "reproduce"):
        assert f"  {part}" in ended.text
    assert "--clause TYPE-02 --case 'ordinary_dtype_comes_back_bit_for_bit[int8-passed]'" in ended.text


def test_engine_defect_provoked_by_a_lawful_trait_is_not_the_backends(tmp_path: Path) -> None:
    ended = certify(tmp_path, backend("Falsy"), *QUICK)
    assert ended.code == 0, ended.text
    assert ended.clause("FIN-12")["standing"] == "engine"


def test_native_crash_is_a_verdict(tmp_path: Path) -> None:
    ended = certify(
        tmp_path,
        backend("Crashing"),
        "--clause",
        "TYPE-02",
        "--case",
        "ordinary_dtype_comes_back_bit_for_bit[int8-passed]",
    )
    assert ended.code == 1, ended.text
    assert "signal 6" in ended.text


@pytest.mark.parametrize(
    ("arguments", "words"),
    (
        (("no_such_backend_anywhere",), "no_such_backend_anywhere"),
        (("torch.distributed.checkpoint", "--level", "cor"), "--level=cor"),
        (("torch.distributed.checkpoint", "--ranks", "0"), "--ranks=0"),
        (("torch.distributed.checkpoint", "--device", "tpu"), "--device=tpu: torch sees no such device"),
        (("torch.distributed.checkpoint", "--device", "7"), "--device=7: name a kind of device"),
        (("torch.distributed.checkpoint", "--clause", "TYPE-2"), "TYPE-02"),
        (("torch.distributed.checkpoint", "--known-failures", "absent.toml"), "absent.toml"),
        (("--level", "core"), "--backend=NAME is missing"),
        (("torch.distributed.checkpoint", "--level", ",,"), "--level=,,: that names nothing"),
        (("torch.distributed.checkpoint", "--clause", ""), "--clause=: that names nothing"),
        (("torch.distributed.checkpoint", "--second-engine", "nope"), "--second-engine=nope cannot be used"),
    ),
    ids=("unknown backend", "level", "ranks", "device", "device number", "clause", "known failures", "no backend")
    + ("no level", "no clause", "second engine"),
)
def test_unusable_input_is_4_in_a_sentence(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    ended = certify(tmp_path, *arguments)
    assert ended.code == 4, ended.text
    assert words in ended.text and "Traceback" not in ended.text
    assert ended.certificate is None


def test_adapter_that_does_not_import_is_4_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "broken_adapter.py").write_text("import a_module_that_is_not_there\n")
    ended = certify(tmp_path, "broken_adapter")
    assert ended.code == 4 and "a_module_that_is_not_there" in ended.text, ended.text


def test_report_of_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "dcp-report").mkdir()
    theirs = tmp_path / "dcp-report" / "certificate.json"
    theirs.write_text('{"mine": true}')
    ended_code = certify(tmp_path, backend("Sound"), *QUICK).code
    assert ended_code == 4 and json.loads(theirs.read_text()) == {"mine": True}


def test_case_that_matches_nothing_is_not_green(tmp_path: Path) -> None:
    assert certify(tmp_path, backend("Sound"), *QUICK, "--case", "no such case").code != 0


def test_level_asked_for_by_name_must_be_decided(tmp_path: Path) -> None:
    ended = certify(tmp_path, backend("Sound"), "--level", "security", "--ranks", "1", "-k", "nothing_is_called_so")
    assert ended.code != 0


def test_known_failure_is_0_and_a_stale_one_is_1(tmp_path: Path) -> None:
    name = "ordinary_dtype_comes_back_bit_for_bit[int8-passed]"
    entry = '[[known]]\nclause = "TYPE-02"\nreason = "int8 is not supported yet"\n'
    (tmp_path / "clause.toml").write_text(entry)
    (tmp_path / "case.toml").write_text(f'{entry}case = "{name}"\n')
    case = ("--clause", "TYPE-02", "--case", name, "--known-failures")
    for entries in ("clause.toml", "case.toml"):
        assert certify(tmp_path, backend("Lossy"), *case, entries).code == 0
    stale = certify(tmp_path, backend("Sound"), *case, "case.toml")
    assert stale.code == 1 and "case.toml" in "".join(stale.text.split())  # a long path may be wrapped
    # Of the whole clause a single case that passes tells nothing.
    assert certify(tmp_path, backend("Sound"), *case, "clause.toml").code == 0


def test_xdist_gives_the_same_certificate_as_one_process(tmp_path: Path) -> None:
    one = certify(tmp_path, backend("Sound"), "--level", "security,scale", "-k", "keys or handles")
    two = certify(tmp_path, backend("Sound"), "--level", "security,scale", "-k", "keys or handles", "-n", "2")
    assert one.certificate is not None and two.certificate is not None
    assert (one.code, one.certificate["levels"]) == (two.code, two.certificate["levels"])


def test_explain_prints_a_clause_without_a_backend(tmp_path: Path) -> None:
    ended = certify(tmp_path, "--explain", "TYPE-02")
    assert ended.code == 0, ended.text
    assert "loses_half_precision" in ended.text and "ordinary_dtype_comes_back_bit_for_bit" in ended.text


def test_secrets_do_not_reach_the_report(tmp_path: Path) -> None:
    (tmp_path / "store.py").write_text(
        "from dcp_conformance.harness import control\n"
        "UNSUPPORTED = control.UNSUPPORTED\n"
        "class Writer(control.Writer):\n"
        "    def __init__(self, checkpoint_id, secret_key=''):\n"
        "        super().__init__(checkpoint_id)\n"
        "        self.secret = secret_key\n"
        "    def write_data(self, plan, planner):\n"
        "        raise OSError('denied for https://user:' + self.secret + '@store.example/bucket')\n"
        "class Reader(control.Reader): pass\n"
    )
    ended = certify(tmp_path, "store", "--backend-option", "secret_key=hunter2hunter2", "--clause", "TYPE-02", "-x")
    assert ended.code == 1, ended.text
    everything = ended.text + "".join(path.read_text() for path in (tmp_path / "dcp-report").iterdir())
    assert "hunter2hunter2" not in everything


def test_a_module_of_checks_that_cannot_be_imported_holds_no_level(tmp_path: Path) -> None:
    """pytest-xdist runs what it could collect, so that a missing package would only make a certificate smaller."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "allpairspy.py").write_text("raise ImportError('not installed')")
    words = ("reference_impl", "--level", "security", "-n", "1")
    ended = certify(tmp_path, *words, first_on_path=str(tmp_path / "broken"))
    assert ended.code == 1 and ended.certificate is not None, ended.text
    assert any("test_drawn.py could not be imported" in reason for reason in ended.certificate["run"]["partial"])
    assert [level["state"] for level in ended.certificate["levels"] if level["level"] == "security"] == ["not decided"]
