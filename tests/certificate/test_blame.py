from __future__ import annotations

import pytest

from dcp_conformance.harness.verdicts.blame import below_storage, decide, delegating
from dcp_conformance.harness.verdicts.verdict import Verdict


@pytest.mark.parametrize(
    ("control", "second", "verdict", "blame"),
    [
        (False, True, Verdict.FAIL, "backend"),
        (False, False, Verdict.FAIL, "engine"),
        (True, False, Verdict.FAIL, "engine"),
        (True, True, Verdict.FAIL, "backend"),
        (True, None, Verdict.UNTESTABLE, None),
        (False, None, Verdict.FAIL, "backend"),
        (None, True, Verdict.FAIL, "backend"),
        (None, False, Verdict.FAIL, "engine"),
        (None, None, Verdict.UNTESTABLE, None),
    ],
)
def test_the_table_of_blame(control, second, verdict, blame):
    decided = decide(control_failed=control, second_failed=second)
    assert (decided.verdict, decided.blame) == (verdict, blame)


def test_wrong_values_of_a_storage_that_wrote_and_read_are_its_own():
    decided = decide(control_failed=False, second_failed=False, wrong_values=True)
    assert (decided.verdict, decided.blame) == (Verdict.FAIL, "backend")
    for control, second in ((True, False), (None, False)):
        assert decide(control_failed=control, second_failed=second, wrong_values=True).blame == "engine"
    assert decide(control_failed=False, second_failed=False, wrong_values=True, trait="len() is 0").blame == "engine"


def test_every_row_has_a_sentence_of_its_own():
    answers = (True, False, None)
    sentences = {decide(control_failed=c, second_failed=s).sentence for c in answers for s in answers}
    assert len(sentences) == 9
    assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in sentences)


def test_a_provoked_engine_names_the_trait_and_both_engines():
    blame = decide(
        control_failed=False, second_failed=False, engine="torch 2.13", second="reference_impl", trait="len() is 0"
    )
    assert blame.sentence == (
        "The control pair passes under torch 2.13 and the backend passes under reference_impl: "
        "the failure is the engine's, provoked by a lawful trait of the backend (len() is 0)."
    )


def test_an_engine_defect_that_masks_is_said():
    assert "masked" in decide(control_failed=True, second_failed=True).sentence


def test_faults_below_the_storage_api_are_the_backends():
    assert (below_storage().verdict, below_storage().blame) == (Verdict.FAIL, "backend")


@pytest.mark.parametrize(
    ("control", "verdict", "blame"),
    [(True, Verdict.FAIL, "engine"), (False, Verdict.FAIL, "backend"), (None, Verdict.UNTESTABLE, None)],
)
def test_a_delegating_engine_is_judged_by_the_control_pair(control, verdict, blame):
    decided = delegating(control_failed=control)
    assert (decided.verdict, decided.blame) == (verdict, blame)
    assert decided.sentence.endswith(".")


def test_a_planner_that_the_check_gave_is_no_call_of_the_backends():
    given = delegating(control_failed=True, parts=["DefaultLoadPlanner, given by the check"])
    own = delegating(control_failed=True, parts=["DefaultLoadPlanner", "DefaultLoadPlanner, given by the check"])
    assert given.sentence.startswith("The check gave it torch's engine (DefaultLoadPlanner")
    assert own.sentence.startswith("The backend's own entry point calls torch's engine (DefaultLoadPlanner")
