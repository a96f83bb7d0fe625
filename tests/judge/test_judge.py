"""From what ranks answer to a verdict: evidence of use, the blame table, harness faults, hangs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from dcp_conformance.harness.laws.verbs import Broken, NotApplicable, Untestable
from dcp_conformance.harness.subject.spec import TORCH_ENGINE, SubjectSpec
from dcp_conformance.harness.subject.subject import Subject
from dcp_conformance.harness.verdicts.budget import CASE_BUDGET, HANG_BUDGET, LEAST_PER_HANG, TOTAL_BUDGET
from dcp_conformance.harness.verdicts.judge import Judge
from dcp_conformance.harness.verdicts.known_failures import KnownFailure, KnownFailures
from dcp_conformance.harness.verdicts.ownership import Applicability
from dcp_conformance.harness.verdicts.verdict import Verdict
from tests.judge.played import OWNED, PlayedRanks, bench_judge, body, clause, judged, storage_calls

CONTROL = "dcp_conformance.harness.control"


def passing(subject: Subject) -> None:
    """A case in which nothing is wrong."""
    subject.run(1, "played:scenario")


def ranks_of(*, control: bool, second: bool) -> PlayedRanks:
    """The backend fails under torch's engine; `control`: so does the control pair; `second`: under another too."""

    def broken(spec: SubjectSpec) -> bool:
        if spec.storage.reference == CONTROL:
            return control
        return second if spec.engine.reference == "second" else True

    return PlayedRanks(broken, storage_calls)


@pytest.mark.parametrize(
    ("control", "second", "blame"),
    ((False, True, "backend"), (False, False, "engine"), (True, False, "engine"), (True, True, "backend")),
)
def test_blame_follows_the_table(control: bool, second: bool, blame: str) -> None:
    ranks = ranks_of(control=control, second=second)
    outcome = judged(ranks)
    assert (outcome.verdict, outcome.blame) == (Verdict.FAIL, blame)
    # No engine is blamed before the first pair failed once more.
    again = [("mine", TORCH_ENGINE)] if blame == "engine" else []
    assert ranks.pairs == [("mine", TORCH_ENGINE), (CONTROL, TORCH_ENGINE), ("mine", "second"), *again]


def test_what_does_not_repeat_is_not_the_engines() -> None:
    runs = itertools.count()
    ranks = PlayedRanks(lambda spec: spec.storage.reference == "mine" and next(runs) == 0, storage_calls)
    outcome = judged(ranks)
    assert (outcome.verdict, outcome.blame) == (Verdict.FAIL, "backend")
    assert "did not repeat" in outcome.reason


@pytest.mark.parametrize(
    ("control", "second", "verdict", "blame"),
    (
        (True, True, Verdict.FAIL, "engine"),
        (False, False, Verdict.FAIL, "engine"),
        (False, True, Verdict.FAIL, "backend"),
    ),
)
def test_torchs_name_stands_only_on_what_torch_breaks(
    control: bool, second: bool, verdict: Verdict, blame: str
) -> None:
    def calls(spec: SubjectSpec) -> list[dict[str, object]]:
        owner = spec.owner(spec.storage)
        return [{"owner": owner, "part": "S", "name": name} for name in ("write_data", "read_data")]

    ranks = ranks_of(control=control, second=second)
    ranks = PlayedRanks(ranks._broken, calls)
    outcome = judged(ranks, applies="P", engines=True)
    assert (outcome.verdict, outcome.blame) == (verdict, blame)


def test_an_engine_clause_that_a_storage_stands_in_the_way_of_is_nobodys_failure() -> None:
    outcome = judged(ranks_of(control=False, second=True), applies="P", engines=True)
    assert (outcome.verdict, outcome.blame) == (Verdict.UNTESTABLE, None)


@pytest.mark.parametrize(("torchs", "blame"), ((False, "backend"), (True, "engine")))
def test_an_own_function_is_told_from_torchs_in_its_place(torchs: bool, blame: str) -> None:
    def broken(spec: SubjectSpec) -> bool:
        return spec.engine.reference == "mine" or torchs and spec.engine.reference == TORCH_ENGINE

    def calls(spec: SubjectSpec) -> list[dict[str, object]]:
        entered = [{"owner": "backend", "part": "E", "name": "load"}] if spec.engine.reference == "mine" else []
        return [*entered, *storage_calls(spec)]

    outcome = judged(PlayedRanks(broken, calls), letters="SE", applies="S", functions=("load",))
    assert (outcome.verdict, outcome.blame) == (Verdict.FAIL, blame)


def test_further_trials_are_made_once_for_all_clauses_of_a_case() -> None:
    ranks = ranks_of(control=False, second=True)
    judge = Judge(bench_judge(second="second").bench, ranks)
    clauses = {replace(clause(), id=f"TEST-0{number}"): OWNED for number in range(3)}
    outcomes = judge.judge("a case", clauses, body)
    assert [outcome.blame for outcome in outcomes] == ["backend"] * 3
    assert len(ranks.pairs) == 3
    judge.judge("another case", clauses, body)
    assert len(ranks.pairs) == 6


@pytest.mark.parametrize(("control", "verdict"), ((False, Verdict.FAIL), (True, Verdict.UNTESTABLE)))
def test_without_a_second_engine_only_the_control_can_tell(control: bool, verdict: Verdict) -> None:
    assert judged(ranks_of(control=control, second=True), second=None).verdict is verdict


def test_faults_below_the_storage_are_never_the_engines() -> None:
    ranks = ranks_of(control=True, second=False)
    assert judged(ranks, below_storage=True).blame == "backend"
    assert len(ranks.pairs) == 1


def test_a_backend_with_its_own_engine_is_not_excused() -> None:
    outcome = judged(PlayedRanks(lambda spec: True, storage_calls), letters="SE", applies="ES")
    assert (outcome.verdict, outcome.blame) == (Verdict.FAIL, "backend")


def test_an_engine_that_enters_torchs_is_excused_where_torchs_fails_alike() -> None:
    def calls(spec: SubjectSpec) -> list[dict[str, object]]:
        entered = (
            [{"owner": "delegated", "part": "E", "name": "_save_state_dict"}] if spec.engine.reference == "mine" else []
        )
        return [*entered, {"owner": "backend", "part": "E", "name": "save"}]

    outcome = judged(PlayedRanks(lambda spec: True, calls), letters="E", applies="E")
    assert outcome.blame == "engine"
    sound = judged(PlayedRanks(lambda spec: spec.storage.reference != CONTROL, calls), letters="E", applies="E")
    assert sound.blame == "backend"


@pytest.mark.parametrize(("listed", "said"), (("TEST-01", True), ("TEST-02", False)))
def test_what_torch_is_known_to_break_is_said_so(listed: str, said: bool) -> None:
    judge = bench_judge(second="second")
    judge.trials.ranks = ranks_of(control=True, second=False)
    judge.torchs = KnownFailures(entries=(KnownFailure(clause=listed, reason="torch forgets", defect="D-1"),))
    [outcome] = judge.judge("a case", {clause(): OWNED}, body)
    assert outcome.blame == "engine"
    assert outcome.reason.endswith("It is a known failure of torch's: torch forgets (D-1).") is said


def test_the_backends_own_failure_is_never_called_torchs() -> None:
    judge = bench_judge(second="second")
    judge.trials.ranks = ranks_of(control=False, second=True)
    judge.torchs = KnownFailures(entries=(KnownFailure(clause="TEST-01", reason="torch forgets"),))
    [outcome] = judge.judge("a case", {clause(): OWNED}, body)
    assert (outcome.blame, "known failure" in outcome.reason) == ("backend", False)


def test_a_pass_needs_evidence_of_use() -> None:
    outcome = judged(PlayedRanks(lambda spec: False, lambda spec: []))
    assert outcome.verdict is Verdict.UNTESTABLE and "never reached" in outcome.reason
    assert judged(PlayedRanks(lambda spec: False, storage_calls)).verdict is Verdict.PASS


def test_calls_of_a_stand_in_are_no_evidence() -> None:
    calls = [{"owner": CONTROL, "part": "S", "name": "write_data"}]
    assert judged(PlayedRanks(lambda spec: False, lambda spec: calls)).verdict is Verdict.UNTESTABLE


def judge_with(error: Exception) -> Verdict:
    from tests.judge import played

    def body(subject: object) -> None:
        subject.run(1, "played:scenario")  # type: ignore[attr-defined]
        raise error

    judge = bench_judge()
    [outcome] = judge.judge("a case", {played.clause(): OWNED}, body)
    return outcome.verdict


@pytest.mark.parametrize(
    ("error", "verdict"),
    (
        (Untestable("no way"), Verdict.UNTESTABLE),
        (NotApplicable("not met"), Verdict.NOT_APPLICABLE),
        (ZeroDivisionError("a bug in the test"), Verdict.HARNESS_ERROR),
    ),
)
def test_what_a_body_raises_decides(error: Exception, verdict: Verdict) -> None:
    assert judge_with(error) is verdict


def test_what_does_not_apply_is_not_run() -> None:
    judge = bench_judge()
    [outcome] = judge.judge(
        "a case", {clause(): Applicability("not-applicable", "for a reason")}, lambda subject: 1 / 0
    )
    assert (outcome.verdict, outcome.reason) == (Verdict.NOT_APPLICABLE, "for a reason")


def test_one_finding_leaves_the_other_promises_standing() -> None:
    first, second = clause(), replace(clause(), id="TEST-02")

    def body(subject: object) -> None:
        subject.run(1, "played:scenario")  # type: ignore[attr-defined]
        with subject.promise("TEST-01"):  # type: ignore[attr-defined]
            raise Broken("this one", kind="values")
        with subject.promise("TEST-02"):  # type: ignore[attr-defined]
            pass

    outcomes = bench_judge().judge("a case", {first: OWNED, second: OWNED}, body)
    # Without a second engine and with a control that fails alike, the broken one cannot be decided.
    assert [outcome.verdict for outcome in outcomes] == [Verdict.UNTESTABLE, Verdict.PASS]


def test_reproduction_names_clause_and_case() -> None:
    outcome = judged(ranks_of(control=False, second=True))
    assert outcome.finding is not None
    assert outcome.finding.reproduce == "dcp-conformance mine --clause TEST-01 --case 'a case'"


def test_a_backend_that_hangs_everywhere_is_not_waited_for_for_ever() -> None:
    judge = bench_judge()

    def hang(subject: Subject) -> None:
        subject.run(2, "played:scenario")
        subject.hung.add(2)
        raise Broken("no answer", kind="hang")

    def alone(subject: Subject) -> None:
        subject.run(1, "played:scenario")

    most = int(HANG_BUDGET / LEAST_PER_HANG)
    below = [judge.judge(f"case {n}", {clause(): OWNED}, hang, below_storage=True)[0] for n in range(most + 2)]
    assert [outcome.verdict for outcome in below[:most]] == [Verdict.HANG] * most
    assert all("on several ranks hung before" in outcome.reason for outcome in below[most:])
    assert judge.judge("on one rank", {clause(): OWNED}, alone)[0].verdict is Verdict.PASS


def test_hangs_that_leave_a_case_undecided_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = bench_judge()
    clock = itertools.count(0.0, HANG_BUDGET)
    monkeypatch.setattr("dcp_conformance.harness.verdicts.trials.time.monotonic", lambda: next(clock))

    def arranged_in_vain(subject: Subject) -> None:
        subject.run(1, "played:scenario")
        subject.hung.add(1)
        raise Untestable("the checkpoint could not be made")

    [first] = judge.judge("first", {clause(): OWNED}, arranged_in_vain)
    [second] = judge.judge("second", {clause(): OWNED}, arranged_in_vain)
    assert "could not be made" in first.reason and "hung before" in second.reason


@pytest.mark.parametrize("known", (True, False))
def test_a_known_hang_costs_no_other_clause_its_check(known: bool) -> None:
    judge = bench_judge()
    if known:
        judge.known = KnownFailures(entries=(KnownFailure(clause=clause().id, reason="it waits for its peers"),))

    def hanging(subject: Subject) -> None:
        subject.run(2, "played:scenario")
        subject.hung.add(2)
        raise Broken("rank 0 gave no answer", kind="hang")

    cases = [f"case {number}" for number in range(math.ceil(HANG_BUDGET / LEAST_PER_HANG) + 1)]
    verdicts = [judge.judge(case, {clause(): OWNED}, hanging, below_storage=True)[0].verdict for case in cases]
    assert verdicts[0] is Verdict.HANG
    assert verdicts[-1] is (Verdict.HANG if known else Verdict.UNTESTABLE)


def failing_late(clock: Clock) -> Callable[[Subject], None]:
    """Make a case that fails after 50 s."""

    def late(subject: Subject) -> None:
        subject.run(1, "played:scenario")
        clock.now += 50.0
        raise Broken("it failed after 50 s", kind="error")

    return late


def test_what_the_engine_alone_costs_leaves_the_backends_cases_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    judge = bench_judge()

    late = failing_late(clock)
    engine, borne = {clause(): Applicability("engine")}, math.ceil(TOTAL_BUDGET / 50.0)
    for number in range(borne):
        judge.judge(f"case {number}", engine, late, below_storage=True)
    [own] = judge.judge("its own", {clause(): OWNED}, passing)
    [more] = judge.judge("one more of the engine", engine, late, below_storage=True)
    assert own.verdict is Verdict.PASS and "must end" in more.reason


def test_errors_that_come_late_are_not_borne_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    judge = bench_judge()

    late = failing_late(clock)
    borne = math.ceil(TOTAL_BUDGET / 50.0)
    outcomes = [judge.judge(f"case {n}", {clause(): OWNED}, late, below_storage=True)[0] for n in range(borne + 2)]
    assert [outcome.verdict for outcome in outcomes] == [Verdict.FAIL] * borne + [Verdict.UNTESTABLE] * 2
    assert "a run must end" in outcomes[-1].reason


def test_time_of_cases_that_pass_is_not_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    judge = bench_judge()

    def slow(subject: Subject) -> None:
        subject.run(1, "played:scenario")
        clock.now += TOTAL_BUDGET

    outcomes = [judge.judge(f"case {n}", {clause(): OWNED}, slow)[0] for n in range(3)]
    assert [outcome.verdict for outcome in outcomes] == [Verdict.PASS] * 3


def test_a_case_that_hung_is_given_up_before_its_further_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    judge = bench_judge()
    ran: list[float] = []

    def hangs_again_and_again(subject: Subject) -> None:
        for _ in range(10):
            subject.run(2, "played:scenario")
            subject.hung.add(2)
            ran.append(clock.now)
            clock.now += 60.0

    [outcome] = judge.judge("a case", {clause(): OWNED}, hangs_again_and_again, below_storage=True)
    assert len(ran) == math.ceil(CASE_BUDGET / 60.0)
    assert outcome.verdict is Verdict.UNTESTABLE and "has hung before it" in outcome.reason


class Clock:
    """The judge's clock, which only the test puts forward."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("dcp_conformance.harness.verdicts.trials.time.monotonic", lambda: self.now)
