from typing import Any

import numpy as np
import pytest

from features.training_spec import Gate
from models.evaluation import Change, GateResult, InService, LabelCount, TaskEvaluation, compare, evaluate_task, log_loss_change
from models.gates import check_gate, check_increase, check_label_rate, check_recall, check_slices, check_task
from models.retrieval import recall_loss

RNG = np.random.default_rng(5)
ROWS = 4000
TRUE = RNG.beta(2, 6, ROWS)
LABELS = (RNG.random(ROWS) < TRUE).astype(np.int64)
DEVICE = np.array(RNG.choice(["phone", "desktop"], ROWS), object)
TRAINED_ON = LabelCount(rows=1000, positives=250)


def evaluation(calibrated: Any, slices: dict[str, Any] | None = None) -> TaskEvaluation:
    return evaluate_task(LABELS, TRUE, calibrated, slices or {})


def against(calibrated: Any, theirs: Any, slices: dict[str, Any] | None = None) -> tuple[GateResult, ...]:
    in_service = InService(version=17, tasks={"ctr": compare(LABELS, calibrated, theirs, slices or {})})
    return check_increase("ctr", Gate(), in_service)


def test_a_good_model_passes_every_gate() -> None:
    gate = Gate(max_log_loss=0.6, min_label_rate=0.2, max_label_rate=0.3)
    in_service = InService(version=17, tasks={"ctr": compare(LABELS, TRUE, TRUE, {"device": DEVICE})})
    results = check_task("ctr", gate, evaluation(TRUE, {"device": DEVICE}), TRAINED_ON, in_service)
    assert {r.verdict for r in results} == {"passed"}
    names = ["min_label_rate", "max_label_rate", "min_auc", "max_log_loss", "min_pcoc", "max_pcoc"]
    by_slice = ["min_pcoc", "max_pcoc"]
    assert [r.key.rsplit(".", 1)[1] for r in results] == [*names, *by_slice, *["max_log_loss_increase"] * 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_auc": 0.99}, "AUC of ctr is "),
        ({"max_log_loss": 0.1}, "calibrated log loss of ctr is "),
        ({"min_pcoc": 1.2}, "calibrated PCOC of ctr is "),
        ({"max_pcoc": 0.9}, "calibrated PCOC of ctr is "),
    ],
)
def test_an_absolute_bound_that_is_missed_is_named(change: dict[str, float], message: str) -> None:
    (failed,) = [r for r in check_gate("ctr", Gate(**change), evaluation(TRUE)) if r.verdict == "failed"]
    ((name, bound),) = change.items()
    assert str(failed).startswith(message)
    assert str(failed).endswith(f", training.gates.ctr.{name} asks for {bound:g}")


@pytest.mark.parametrize(
    ("positives", "name", "bound"), [(100, "min_label_rate", 0.2), (900, "max_label_rate", 0.8)], ids=["too low", "too high"]
)
def test_a_label_rate_out_of_range_fails(positives: int, name: str, bound: float) -> None:
    results = check_label_rate("ctr", Gate(min_label_rate=0.2, max_label_rate=0.8), 1000, positives)
    (failed,) = [r for r in results if r.verdict == "failed"]
    rate = positives / 1000
    assert str(failed) == f"label rate in training of ctr is {rate:.4f}, training.gates.ctr.{name} asks for {bound}"


def test_a_task_without_training_rows_has_no_label_rate_to_judge() -> None:
    (result,) = check_label_rate("cvr", Gate(min_label_rate=0.2), 0, 0)
    assert (result.verdict, result.note) == ("skipped", "no training row counts for the task")


def test_label_rates_are_free_unless_bounded() -> None:
    assert check_label_rate("ctr", Gate(), 1000, 999) == ()


@pytest.mark.parametrize(("factor", "name"), [(0.6, "min_pcoc"), (1.6, "max_pcoc")])
def test_a_slice_that_is_off_fails_even_where_the_whole_is_right(factor: float, name: str) -> None:
    phone = DEVICE == "phone"
    counter = (LABELS.sum() - factor * TRUE[phone].sum()) / TRUE[~phone].sum()
    skewed = np.clip(np.where(phone, factor, counter) * TRUE, 0, 1)
    found = evaluation(skewed, {"device": DEVICE})
    assert {r.verdict for r in check_gate("ctr", Gate(), found)} == {"passed"}
    failed = {r.key.rsplit(".", 1)[1]: r for r in check_slices("ctr", Gate(), found) if r.verdict == "failed"}
    assert failed[name].where == "device = phone"
    assert str(failed[name]).startswith("calibrated PCOC of ctr where device = phone is ")
    assert "95 % interval" in str(failed[name])


def test_a_slice_fails_only_where_its_whole_interval_is_beyond_the_bound() -> None:
    found = evaluation(TRUE, {"device": DEVICE})
    passed = check_slices("ctr", Gate(), found)[0]
    assert passed.interval is not None
    assert passed.value is not None
    within, beyond = (passed.value + passed.interval[1]) / 2, passed.interval[1] + 0.001
    assert check_slices("ctr", Gate(min_pcoc=within), found)[0].verdict == "passed"
    assert check_slices("ctr", Gate(min_pcoc=beyond), found)[0].verdict == "failed"


def test_a_slice_with_few_positives_is_not_judged() -> None:
    device = np.full(ROWS, "desktop", object)
    device[:40] = "tablet"
    off = np.where(device == "tablet", 0.999, TRUE)
    results = check_slices("ctr", Gate(), evaluation(off, {"device": device}))
    assert {r.where for r in results} == {"device = desktop"}
    assert {r.verdict for r in results} == {"passed"}


def test_a_worse_log_loss_than_in_service_fails() -> None:
    shuffled = np.random.default_rng(1).permutation(TRUE)
    (failed,) = against(shuffled, TRUE)
    assert failed.verdict == "failed"
    assert str(failed).startswith("relative increase in log loss of ctr over release 17 is 0.")
    assert str(failed).endswith(", training.gates.ctr.max_log_loss_increase asks for 0.01")


def test_a_better_log_loss_than_in_service_passes() -> None:
    (passed,) = against(TRUE, np.random.default_rng(1).permutation(TRUE))
    assert passed.verdict == "passed"
    assert passed.value is not None
    assert passed.value < 0


def test_a_slice_that_got_worse_fails() -> None:
    phone = DEVICE == "phone"
    worse_on_phones = np.where(phone, np.random.default_rng(1).permutation(TRUE), TRUE)
    failed = [r for r in against(worse_on_phones, TRUE, {"device": DEVICE}) if r.verdict == "failed"]
    assert [r.where for r in failed] == ["", "device = phone"]


def test_the_tolerance_can_be_lifted() -> None:
    in_service = InService(version=17, tasks={"ctr": compare(LABELS, 1 - TRUE, TRUE, {})})
    assert check_increase("ctr", Gate(max_log_loss_increase=None), in_service) == ()


def test_a_release_that_could_not_be_compared_skips_the_gate_and_says_why() -> None:
    in_service = InService(version=17, note="not compared: release 17 takes feature 'brand'")
    (skipped,) = check_increase("ctr", Gate(), in_service)
    assert (skipped.verdict, skipped.note) == ("skipped", in_service.note)


def test_a_comparison_on_too_few_positives_cannot_be_judged_either() -> None:
    in_service = InService(version=17, tasks={"ctr": compare(LABELS, TRUE, TRUE, {})})
    (unjudged,) = check_increase("ctr", Gate(min_positives=3000), in_service)
    few = f"{LABELS.sum()} positives in 4,000 rows, min_positives asks for 3000"
    assert (unjudged.verdict, unjudged.value, str(unjudged)) == (
        "unjudged",
        None,
        f"ctr cannot be judged over release 17: {few}",
    )
    (skipped,) = check_increase("ctr", Gate(min_positives=3000, unjudged="release"), in_service)
    assert skipped.verdict == "skipped"


def without_the_seen(unseen: Any) -> tuple[GateResult, ...]:
    """A model without a gift against the truth, on some of the rows and phones alone."""
    worse, phone = np.full(ROWS, 0.25), np.array(["phone"] * ROWS, object)
    rival = compare(LABELS[unseen], worse[unseen], TRUE[unseen], {"device": phone[unseen]}, seen=int((~unseen).sum()))
    rival_of_all = InService(version=17, tasks={"ctr": rival})
    return check_task("ctr", Gate(), evaluation(worse, {"device": phone}), TRAINED_ON, rival_of_all)


def test_rows_that_the_release_in_service_has_learned_from_do_not_count_as_enough() -> None:
    first_hundred = np.arange(ROWS) < 100  # some 25 positives
    (increase,) = [r for r in without_the_seen(first_hundred) if "increase" in r.key]
    assert increase.verdict == "unjudged"
    assert increase.note == (
        f"{LABELS[:100].sum()} positives in 100 rows, without 3,900 that it has learned from, min_positives asks for 100"
    )


def test_where_nothing_is_left_to_compare_on_that_gate_alone_cannot_be_judged_and_says_so() -> None:
    results = without_the_seen(np.zeros(ROWS, bool))
    unjudged = {r.key.rsplit(".", 1)[1]: r.note for r in results if r.verdict == "unjudged"}
    assert unjudged == {"max_log_loss_increase": "release 17 has learned from all 4,000 rows"}
    assert {r.key.rsplit(".", 1)[1] for r in results if r.verdict != "unjudged"} == {"min_auc", "min_pcoc", "max_pcoc"}


def test_the_first_release_has_nothing_to_be_compared_with() -> None:
    keys = {r.key for r in check_task("ctr", Gate(), evaluation(TRUE), TRAINED_ON, None)}
    assert not any("increase" in key for key in keys)


def test_the_interval_of_a_log_loss_change_covers_the_truth() -> None:
    # 200 samples of 500 rows; the true ratio is that of expected log losses, 0.5 for everyone against the truth.
    rng = np.random.default_rng(2)
    true = rng.beta(2, 6, (200, 500))
    expected = np.log(2) / -np.mean(true * np.log(true) + (1 - true) * np.log1p(-true)) - 1
    changes = [log_loss_change((rng.random(500) < p).astype(np.int64), np.full(500, 0.5), p) for p in true]
    covered = [c.interval.low <= expected <= c.interval.high for c in changes if c is not None]
    assert len(covered) == 200
    assert 0.9 <= np.mean(covered) <= 0.99


def test_intervals_that_hold_together_are_wider() -> None:
    one, fifty = (log_loss_change(LABELS, TRUE, 0.5 * TRUE, n) for n in (1, 50))
    assert isinstance(one, Change)
    assert isinstance(fifty, Change)
    assert fifty.interval.low < one.interval.low < one.relative < one.interval.high < fifty.interval.high
    assert log_loss_change(LABELS[:1], TRUE[:1], TRUE[:1]) is None


def towers(ours: Any, theirs: Any) -> InService:
    rival = compare(LABELS, TRUE, TRUE, {}).model_copy(update={"recall": recall_loss(ours, theirs, 100)})
    return InService(version=17, tasks={"ctr": rival})


NEAR, FAR = np.full(1000, 99), np.full(1000, 100)  # the 100th is the last that is retrieved


def test_towers_that_find_less_than_those_in_service_fail() -> None:
    ours = np.where(np.arange(1000) < 60, FAR, NEAR)
    (failed,) = check_recall("ctr", Gate(), towers(ours, NEAR))
    assert failed.verdict == "failed"
    # 6 % lost, give or take 1.96 sqrt(0.06 x 0.94 / 999).
    assert str(failed) == (
        "loss of recall@100 of ctr over release 17 is 0.0600 (95 % interval 0.0453 to 0.0747), "
        "training.gates.ctr.max_recall_loss asks for 0.02"
    )


@pytest.mark.parametrize("lost", [0, 20, 28], ids=["nothing", "as much as allowed", "perhaps more"])
def test_towers_fail_only_where_the_whole_interval_is_beyond_the_bound(lost: int) -> None:
    (passed,) = check_recall("ctr", Gate(), towers(np.where(np.arange(1000) < lost, FAR, NEAR), NEAR))
    assert passed.verdict == "passed"
    assert passed.value == pytest.approx(lost / 1000)


def test_towers_that_find_more_pass() -> None:
    (passed,) = check_recall("ctr", Gate(max_recall_loss=0), towers(NEAR, FAR))
    assert (passed.verdict, passed.value) == ("passed", -1)


def test_towers_are_judged_by_enough_positives_or_not_at_all() -> None:
    (unjudged,) = check_recall("ctr", Gate(min_positives=1001), towers(NEAR, NEAR))
    assert (unjudged.verdict, unjudged.note) == ("unjudged", "1000 positives, min_positives asks for 1001")
    assert check_recall("ctr", Gate(max_recall_loss=None), towers(NEAR, FAR)) == ()
    assert check_recall("ctr", Gate(), InService(version=17, tasks={"ctr": compare(LABELS, TRUE, TRUE, {})})) == ()
