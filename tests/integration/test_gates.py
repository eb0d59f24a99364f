"""What stops a push, on the coupon release as the one in service: data or a model that trips each gate, without a training."""

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from domain.errors import ContractError, InvalidTrainingData
from features.market import Market, load_market
from models import release
from models.evaluation import DataUsed, EvaluationReport, InService, LabelCount, SplitData
from models.release import calibrated_column, load_release, raw_column
from pipelines.progress import StepStarted
from pipelines.server_ahead import server_ahead, started_ahead
from tests.integration.conftest import TrainedRelease

RAW, CALIBRATED = raw_column("ctr"), calibrated_column("ctr")
Columns = dict[str, Any]


@pytest.fixture(scope="module")
def components() -> tuple[ModuleType, ModuleType, ModuleType]:
    """Assessor, serving check and anomaly check."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TFX's own imports
        from pipelines.components import anomaly_check, assessor, serving_check
    return assessor, serving_check, anomaly_check


@pytest.fixture(scope="module")
def market(coupon_release: TrainedRelease) -> Market:
    return load_market(coupon_release.market)


@pytest.fixture
def rows(coupon_release: TrainedRelease, market: Market) -> Columns:
    """The eval rows with their predictions, as the assessor has them."""
    table = pq.read_table(coupon_release.path / release.EVAL_PREDICTIONS)
    strings = {f.name for f in market.features if f.dtype == "string"}
    return {
        name: np.array(table[name].to_pylist(), object) if name in strings else table[name].to_numpy()
        for name in table.column_names
    }


@pytest.fixture(scope="module")
def shipped(coupon_release: TrainedRelease) -> EvaluationReport:
    return EvaluationReport.model_validate_json((coupon_release.path / release.EVALUATION).read_bytes())


Assess = Callable[[Columns], EvaluationReport]


@pytest.fixture
def assess(components: Any, coupon_release: TrainedRelease, market: Market, shipped: EvaluationReport) -> Assess:
    """A model, by its predictions, against the release in service."""
    assessor = components[0]

    def against_the_release(rows: Columns) -> EvaluationReport:
        rival = assessor.in_service(market, coupon_release.releases, rows)
        report: EvaluationReport = assessor.assess(market, rows, shipped.data, {}, rival)
        return report

    return against_the_release


def test_a_model_is_no_worse_than_itself(assess: Assess, rows: Columns, shipped: EvaluationReport) -> None:
    report = assess(rows)
    assert report.failed == ()
    assert report.in_service is not None
    rival = report.in_service.tasks["ctr"]
    assert rival.metrics.log_loss == pytest.approx(shipped.tasks["ctr"].calibrated.log_loss, rel=1e-6)
    assert rival.change is not None
    assert rival.change.relative == pytest.approx(0, abs=1e-6)
    (gate,) = [g for g in report.gates if g.key.endswith("max_log_loss_increase") and not g.where]
    assert gate.verdict == "passed"


def test_on_explored_rows_a_model_is_measured_and_its_choice_valued_beside_that_in_service(assess: Assess, rows: Columns) -> None:
    told = {"explored": np.arange(len(rows[RAW])) % 4 == 0, "propensity_ppb": np.full(len(rows[RAW]), 250_000_000)}
    # It takes the worst for the best.
    report = assess(rows | {CALIBRATED: 1 - rows[CALIBRATED]} | {name: column.astype(np.int64) for name, column in told.items()})
    seen, rival = report.tasks["ctr"].explored, report.in_service and report.in_service.tasks["ctr"]
    assert seen is not None
    assert (seen.rows, seen.positives) == (told["explored"].sum(), rows["accepted"][told["explored"]].sum())
    assert rival is not None
    assert rival.choice is not None
    assert rival.choice.ours < rows["accepted"].mean() < rival.choice.theirs
    assert rival.choice.gain.high < 0
    assert rival.choice.effective == pytest.approx(len(rows[RAW]) / 5, rel=0.1)
    assert assess(rows).tasks["ctr"].explored is None


def test_a_worse_model_is_stopped_by_the_release_in_service(
    assess: Assess, rows: Columns, coupon_release: TrainedRelease
) -> None:
    rng = np.random.default_rng(0)
    blurred = 1 / (1 + np.exp(-(np.log(rows[RAW] / (1 - rows[RAW])) + rng.normal(0, 1, len(rows[RAW])))))
    report = assess(rows | {RAW: blurred, CALIBRATED: blurred})
    (reason,) = [g for g in report.failed if g.key.endswith("max_log_loss_increase") and not g.where]
    assert str(reason).startswith(f"relative increase in log loss of ctr over release {coupon_release.version} is 0.")
    assert str(reason).endswith("training.gates.ctr.max_log_loss_increase asks for 0.01")


def test_a_model_that_overcharges_for_one_coupon_is_stopped(assess: Assess, rows: Columns) -> None:
    bars = rows["coupon"] == "Bar"
    report = assess(rows | {CALIBRATED: np.where(bars, np.minimum(1.4 * rows[CALIBRATED], 0.999), rows[CALIBRATED])})
    reasons = {g.key.rsplit(".", 1)[1]: g.where for g in report.failed if g.where}
    assert reasons["max_pcoc"] == "coupon = Bar"


@pytest.mark.parametrize(("through", "said"), [(999, ""), (3_807, "has learned from all 3,808 rows")], ids=["some", "all"])
def test_rows_that_the_release_in_service_has_learned_from_are_left_out_of_the_comparison_alone(
    components: Any, market: Market, coupon_release: TrainedRelease, rows: Columns, tmp_path: Path, through: int, said: str
) -> None:
    shutil.copytree(coupon_release.path, tmp_path / str(coupon_release.version))
    manifest = load_release(coupon_release.path).manifest.model_copy(update={"trained_through_ms": through})
    release.seal(tmp_path / str(coupon_release.version), manifest)
    decided = rows | {"time_ms": np.arange(3_808)}
    found: InService = components[0].in_service(market, tmp_path, decided)
    rival = found.tasks["ctr"]
    unseen = decided["time_ms"] > through
    assert (rival.rows, rival.seen, rival.positives) == (3_807 - through, through + 1, rows["accepted"][unseen].sum())
    assert sum(change.rows for change in rival.slices["coupon"].values()) == rival.rows
    train = LabelCount(rows=8_000, positives=4_000)
    used = DataUsed(splits={"train": SplitData(rows=8_000, tasks={"ctr": train})})
    report = components[0].assess(market, decided, used, {}, found)
    assert report.tasks["ctr"].rows == 3_808
    unjudged = {(g.key.rsplit(".", 1)[1], g.note) for g in report.gates if g.verdict == "unjudged"}
    assert unjudged == ({("max_log_loss_increase", f"release {coupon_release.version} {said}")} if said else set())


@pytest.mark.parametrize(("positives", "rows_in_all"), [(3, 900), (4, 8)], ids=["three positives", "eight rows"])
def test_a_model_that_hardly_anything_judges_is_not_released(
    assess: Assess, rows: Columns, positives: int, rows_in_all: int
) -> None:
    ones, zeros = (np.flatnonzero(rows["accepted"] == label) for label in (1, 0))
    few = np.concatenate([ones[:positives], zeros[: rows_in_all - positives]])
    report = assess({name: column[few] for name, column in rows.items()})
    why = f"{positives} positives in {rows_in_all} rows, min_positives asks for 100"
    assert report.refusals[0] == f"ctr cannot be judged: {why}"
    assert report.refusals[1].startswith("ctr cannot be judged over release ")
    assert len(report.refusals) == 2
    assert report.waits


def test_towers_that_find_less_than_those_in_service_are_stopped(
    components: Any, coupon_release: TrainedRelease, market: Market, rows: Columns, shipped: EvaluationReport
) -> None:
    from pipelines.recall import AHEAD, ahead
    from pipelines.scoring import load_signatures

    two = market.model_copy(update={"policy": market.policy.model_copy(update={"max_candidates": 2})})  # of ten offers
    found = ahead(two, load_signatures(str(coupon_release.path)), rows)
    assert ahead(market, {}, rows) == {}
    accepted = rows["accepted"] == 1
    assert np.array_equal(found[AHEAD] >= 0, accepted)
    reports = {}
    for name, column in (("the same", found[AHEAD]), ("worse", np.where(accepted, 2, -1))):
        ours = rows | {AHEAD: column}
        rival = components[0].in_service(two, coupon_release.releases, ours)
        reports[name] = components[0].assess(two, ours, shipped.data, {}, rival)
    recalled = reports["the same"].tasks["ctr"].recall
    assert (recalled.k, recalled.offers, recalled.positives) == (2, 10, accepted.sum())
    assert recalled.recall == np.mean(found[AHEAD][accepted] < 2)
    assert 0.3 < recalled.recall < 1  # by chance two of ten
    (passed,) = [g for g in reports["the same"].gates if g.key.endswith("max_recall_loss")]
    assert (passed.verdict, passed.value) == ("passed", 0)
    assert reports["the same"].failed == ()
    (reason,) = reports["worse"].refusals
    assert reason.startswith(f"loss of recall@2 of ctr over release {coupon_release.version} is 0.")
    assert reason.endswith("training.gates.ctr.max_recall_loss asks for 0.02")


def test_a_release_that_takes_other_inputs_is_not_compared_with(
    components: Any, coupon_release: TrainedRelease, market: Market, rows: Columns
) -> None:
    narrower = market.model_copy(update={"features": market.features[1:]})
    found: InService = components[0].in_service(narrower, coupon_release.releases, rows)
    assert found.tasks == {}
    assert "takes feature 'destination', which the market no longer has" in found.note


def test_before_the_first_release_there_is_nothing_to_compare_with(
    components: Any, market: Market, rows: Columns, tmp_path: Path
) -> None:
    assert components[0].in_service(market, tmp_path, rows) is None


def test_auxiliary_tasks_are_reported_and_not_gated(
    components: Any, market: Market, rows: Columns, shipped: EvaluationReport
) -> None:
    (task,) = market.tasks
    helper = task.model_copy(update={"name": "helper", "role": "auxiliary"})
    with_helper = market.model_copy(update={"tasks": (task, helper)})
    more = rows | {raw_column("helper"): rows[RAW], calibrated_column("helper"): np.full(len(rows[RAW]), 0.01)}
    train = shipped.data.splits["train"]
    data = DataUsed(splits={"train": train.model_copy(update={"tasks": dict.fromkeys(("ctr", "helper"), train.tasks["ctr"])})})
    report = components[0].assess(with_helper, more, data, {}, None)
    assert report.tasks["helper"].calibrated.pcoc < 0.1
    assert {g.task for g in report.gates} == {"ctr"}


def test_a_task_of_the_entire_space_is_measured_over_all_rows_too(
    components: Any, market: Market, rows: Columns, shipped: EvaluationReport
) -> None:
    (task,) = market.tasks
    ordered = task.model_copy(update={"name": "cvr", "label": "ordered", "given": task.label, "space": "entire"})
    n = len(rows[RAW])
    bought = np.arange(n) % 4 == 0  # among all rows: a conversion without the click is none
    more = rows | {
        "ordered": bought.astype(np.int64),
        raw_column("cvr"): np.full(n, 0.25),
        calibrated_column("cvr"): np.full(n, 0.25),
    }
    train = shipped.data.splits["train"]
    data = DataUsed(splits={"train": train.model_copy(update={"tasks": dict.fromkeys(("ctr", "cvr"), train.tasks["ctr"])})})
    report = components[0].assess(market.model_copy(update={"tasks": (task, ordered)}), more, data, {}, None)
    cvr, clicked = report.tasks["cvr"], rows[task.label] == 1
    assert (cvr.rows, cvr.positives) == (clicked.sum(), bought[clicked].sum())
    assert cvr.entire is not None
    assert (cvr.entire.rows, cvr.entire.positives) == (n, bought[clicked].sum())
    expected = (0.25 * rows[CALIBRATED]).sum() / bought[clicked].sum()
    assert cvr.entire.calibrated.pcoc == pytest.approx(expected)


def test_values_that_the_market_does_not_know_are_an_anomaly(
    components: Any, market: Market, rows: Columns, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pandas as pd
        import tensorflow_data_validation as tfdv

        from pipelines.schema import schema_of

        names = [f.name for f in market.features] + ["accepted"]
        others = dict.fromkeys(market.row_columns, -1) | {"accepted_usable": 1}
        seen = pd.DataFrame({name: rows[name] for name in names}).assign(**others)
        for split, weather in (("train", seen["weather"]), ("eval", "Foggy")):
            found = tfdv.generate_statistics_from_dataframe(seen.assign(weather=weather))
            (tmp_path / f"Split-{split}").mkdir()
            anomalies = tfdv.validate_statistics(found, schema_of(market)).SerializeToString()
            (tmp_path / f"Split-{split}" / "SchemaDiff.pb").write_bytes(anomalies)
    with pytest.raises(
        InvalidTrainingData, match=r"^coupons: column 'weather', split eval: expected values as the market describes"
    ):
        components[2].check_anomalies(tmp_path, "coupons")
    shutil.rmtree(tmp_path / "Split-eval")
    components[2].check_anomalies(tmp_path, "coupons")


def test_a_server_that_was_started_before_there_was_a_release_is_the_one_that_is_asked(
    components: Any, coupon_release: TrainedRelease, market: Market, tmp_path: Path
) -> None:
    with server_ahead(tmp_path / "ahead") as heard:
        heard(StepStarted("Trainer", 1, 3))
        assert started_ahead() is None
        heard(StepStarted("Calibrator", 2, 3))
        ahead = started_ahead()
        assert ahead is not None
        components[1].check_serving(market, coupon_release.path, tmp_path / "work")
        assert not (tmp_path / "work").exists()
        ahead.server.process.kill()
        ahead.server.process.wait()
        assert started_ahead() is None  # ServingCheck then starts its own
    assert "available" in ahead.server.output.read_text()


def test_a_server_that_answers_otherwise_stops_the_release(
    components: Any, coupon_release: TrainedRelease, market: Market, tmp_path: Path
) -> None:
    copy = tmp_path / str(coupon_release.version)
    shutil.copytree(coupon_release.path, copy)
    table = pq.read_table(copy / release.EVAL_PREDICTIONS)
    off = pa.array(table[RAW].to_numpy() + np.float32(0.001))
    pq.write_table(table.set_column(table.column_names.index(RAW), RAW, off), copy / release.EVAL_PREDICTIONS)
    release.seal(copy, release.Manifest.model_validate_json((copy / release.MANIFEST).read_bytes()))
    with pytest.raises(ContractError, match=r"serving check, 256 rows of the evaluation: ctr differs by 1\.00e-03"):
        components[1].check_serving(market, copy, tmp_path / "work")
    components[1].tf.io.gfile.rmtree(str(tmp_path / "work"))  # as TFX does, which must not hide the reason
