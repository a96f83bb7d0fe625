"""What a contributor reads who mistyped a name, or whose scenario raises: one sentence, and where."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugin.command import Ended, certify
from tests.plugin.test_exit_codes import backend

HEAD = """\
import pytest
from dcp_conformance.harness.subject.subject import module_on_ranks

on_ranks = module_on_ranks("dcp_conformance.suites.core.values.on_ranks_dtypes")

"""


def with_test(folder: Path, mark: str, line: str, *arguments: str) -> Ended:
    """A run of FIN-12 with a test of a contributor's beside the suites."""
    path = folder / "test_mine.py"
    path.write_text(f"{HEAD}\n{mark}\ndef test_mine(subject):\n    {line}\n")
    return certify(folder, backend("Sound"), str(path), "--clause", "FIN-12", *arguments)


@pytest.mark.parametrize(
    ("mark", "line", "sentence"),
    [
        ("", "subject.alone(on_ranks.special_values, 'int8')", ": the test names no clause"),
        (
            "@pytest.mark.clauses('FIN-112')",
            "subject.alone(on_ranks.special_values, 'int8')",
            ": The contract has no clause 'FIN-112' (nearest: FIN-12",
        ),
        (
            "@pytest.mark.clauses('FIN-12')",
            "subject.alone(on_ranks.special_valuez, 'int8')",
            "on_ranks_dtypes has no scenario 'special_valuez'; did you mean 'special_values'?",
        ),
    ],
    ids=["no-clause", "clause", "scenario"],
)
def test_mistyped_name_is_one_sentence_with_the_nearest_and_exit_4(
    tmp_path: Path, mark: str, line: str, sentence: str
) -> None:
    ended = with_test(tmp_path, mark, line)
    assert ended.code == 4, ended.text
    assert "test_mine.py:" in ended.text and sentence in ended.text
    assert "Traceback" not in ended.text and "INTERNALERROR" not in ended.text
    assert ended.certificate is None


def test_workers_of_xdist_tell_it_too(tmp_path: Path) -> None:
    ended = with_test(tmp_path, "@pytest.mark.clauses('FIN-112')", "pass", "-n", "1")
    assert ended.code == 4, ended.text
    assert "has no clause 'FIN-112'" in ended.text and "INTERNALERROR" not in ended.text


def test_scenario_that_raises_is_told_with_its_line(tmp_path: Path) -> None:
    mark = "@pytest.mark.clauses('FIN-12')"
    ended = with_test(tmp_path, mark, "subject.alone(on_ranks.special_values, 'no such dtype')")
    assert ended.code == 1, ended.text
    told = " ".join(ended.text.split())
    assert "the scenario failed on rank 0 at suites/core/values/on_ranks_dtypes.py:" in told
    assert "Traceback" not in ended.text
