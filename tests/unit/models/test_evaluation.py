import numpy as np
import pytest

from features.training_spec import Gate
from models.evaluation import EvaluationReport, GateResult, TaskEvaluation, evaluate_task
from models.gates import check_gate

LABELS = np.array([1, 0, 1, 0])
RAW = np.array([0.9, 0.4, 0.6, 0.3])
CALIBRATED = np.array([0.8, 0.4, 0.6, 0.2])


def measured(n: int = 1) -> TaskEvaluation:
    return evaluate_task(np.tile(LABELS, n), np.tile(RAW, n), np.tile(CALIBRATED, n), {})


def verdicts(gate: Gate, n: int = 1) -> dict[str, str]:
    return {r.key.rsplit(".", 1)[1]: r.verdict for r in check_gate("ctr", gate, measured(n))}


def test_a_good_model_passes() -> None:
    # PCOC = (0.8 + 0.4 + 0.6 + 0.2) / 2 = 1, AUC = 1.
    assert verdicts(Gate(min_positives=2)) == {"min_auc": "passed", "min_pcoc": "passed", "max_pcoc": "passed"}


def test_a_missed_bound_names_metric_value_and_key() -> None:
    failed = [r for r in check_gate("ctr", Gate(min_pcoc=1.1, min_positives=2), measured()) if r.verdict == "failed"]
    assert [str(r) for r in failed] == ["calibrated PCOC of ctr is 1.0000, training.gates.ctr.min_pcoc asks for 1.1"]


def test_log_loss_is_gated_only_where_asked() -> None:
    assert "max_log_loss" not in verdicts(Gate(min_positives=2))
    assert verdicts(Gate(max_log_loss=0.1, min_positives=2))["max_log_loss"] == "failed"


def report_of(gate: Gate, n: int = 1) -> EvaluationReport:
    return EvaluationReport(tasks={}, gates=check_gate("ctr", gate, measured(n)))


def test_a_model_that_cannot_be_judged_is_not_released_and_says_so_once() -> None:
    report = report_of(Gate(min_auc=1, min_pcoc=1.2, min_positives=3))
    assert {r.verdict for r in report.gates} == {"unjudged"}
    assert report.refusals == ("ctr cannot be judged: 2 positives in 4 rows, min_positives asks for 3",)
    assert report.waits
    assert verdicts(Gate(min_pcoc=1.2, min_positives=3), n=2)["min_pcoc"] == "failed"


def test_it_is_the_fewer_of_positives_and_negatives_that_there_are_too_few_of() -> None:
    task = evaluate_task(np.array([1, 1, 1, 0]), RAW, CALIBRATED, {})
    assert check_gate("ctr", Gate(min_positives=3), task)[0].note == "1 negative in 4 rows, min_positives asks for 3"


def test_a_model_that_cannot_be_judged_is_released_where_the_market_says_so_by_name() -> None:
    report = report_of(Gate(min_auc=1, min_pcoc=1.2, min_positives=3, unjudged="release"))
    assert {r.verdict for r in report.gates} == {"skipped"}
    assert (report.refusals, report.waits) == ((), False)
    assert report.gates[0].note == '2 positives in 4 rows, min_positives asks for 3; unjudged = "release" lets it pass'


def test_a_model_that_missed_a_gate_does_not_wait_for_rows_of_another_task() -> None:
    missed = report_of(Gate(min_pcoc=1.1, min_positives=2)).gates
    report = EvaluationReport(tasks={}, gates=(*report_of(Gate(min_positives=3)).gates, *missed))
    assert not report.waits
    assert [line.split(" ")[0:2] for line in report.refusals] == [["calibrated", "PCOC"], ["ctr", "cannot"]]


def test_a_task_without_rows_has_no_metrics_and_cannot_be_judged() -> None:
    nothing = np.zeros(0)
    task = evaluate_task(nothing.astype(np.int64), nothing, nothing, {})
    assert (task.rows, task.raw.auc, task.raw.log_loss, task.calibrated.pcoc) == (0, None, None, None)
    assert {r.verdict for r in check_gate("cvr", Gate(), task)} == {"unjudged"}


def test_slices_are_measured_apart() -> None:
    task = evaluate_task(LABELS, RAW, CALIBRATED, {"device": np.array(["a", "a", "b", "b"], object)})
    assert {value: m.rows for value, m in task.slices["device"].items()} == {"a": 2, "b": 2}
    assert task.slices["device"]["b"].raw.pcoc == pytest.approx(0.9)


def test_only_frequent_slice_values_are_reported() -> None:
    values = np.array([f"rare{i}" for i in range(60)] + ["often"] * 40, object)
    task = evaluate_task(np.tile([0, 1], 50), np.full(100, 0.5), np.full(100, 0.5), {"x": values})
    assert len(task.slices["x"]) == 50
    assert "often" in task.slices["x"]


def test_a_report_lists_what_failed() -> None:
    gate = GateResult(task="ctr", key="k", metric="AUC", value=None, bound=0.5, verdict="failed")
    report = EvaluationReport(tasks={}, gates=(gate, gate.model_copy(update={"verdict": "skipped"})))
    assert report.failed == (gate,)
    assert str(gate) == "AUC of ctr is undefined, k asks for 0.5"
