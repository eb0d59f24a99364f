"""CTR and CVR under MMoE, features of all kinds, split by time, no conversion among the latest rows, a gate no model passes."""

import json
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ml_metadata import ListOptions
from ml_metadata.proto.metadata_store_pb2 import Artifact

from features.assemble import OfferColumns, assemble
from features.market import load_market
from models.evaluation import EvaluationReport
from models.release import MANIFEST, calibrated_column, raw_column, versions
from pipelines.metadata_address import metadata_beside
from pipelines.metadata_store import opened
from store.runs import recent_runs

ROWS = 3000
BRANDS = ("alpha", "beta", "gamma", "delta")
MARKET = """
name = "two-tasks"
currency = "EUR"
placements = [{ name = "main", count = 2 }]
features = [
  { name = "country", source = "shopper", default = "DE", vocabulary = ["DE", "NL"], oov_buckets = 2 },
  { name = "amount", source = "context", dtype = "float", missing = "own", quantiles = 4, normalize = true },
  { name = "basket", source = "context", multiple = true, max_values = 3, vocabulary = 20 },
  { name = "past_clicks", source = "history", counter = "click", normalize = true },
  { name = "offer_id", source = "offer", default = "none", hash_buckets = 64 },
  { name = "topics", source = "offer", multiple = true, max_values = 2, weighted = true, vocabulary = ["tea", "jam"] },
]
crosses = [{ features = ["country", "offer_id"], hash_buckets = 100 }]
tasks = [
  { name = "ctr", label = "click" },
  { name = "cvr", label = "conversion", given = "click" },
]
campaigns = [{ id = "c", advertiser = "a", bid_kind = "cpa", bid_micros = 1000000 }]
offers = [
  { id = "alpha", campaign = "c", title = "A", landing_url = "https://example.com/a", features = { topics = { tea = 2 } } },
  { id = "beta", campaign = "c", title = "B", landing_url = "https://example.com/b" },
  { id = "gamma", campaign = "c", title = "C", landing_url = "https://example.com/c" },
  { id = "delta", campaign = "c", title = "D", landing_url = "https://example.com/d" },
]
[policy]
id = "two-1"
priors = { ctr = 0.1, cvr = 0.1 }
[training]
split = { kind = "time", by = "time_ms", valid_fraction = 0.1, eval_fraction = 0.2 }
slices = ["country"]
tfma = true
gates.ctr = { min_auc = 0.999 }
[model]
epochs = 8
batch_size = 128
learning_rate = 0.01
"""


@dataclass(frozen=True)
class Refused:
    """What a run that missed its gate left behind."""

    code: int
    stdout: str
    stderr: str
    out: Path
    artifacts: Path


def write_log(path: Path) -> None:
    """Everyone clicks alpha, hardly anyone delta; only the first fifth of the time has conversions."""
    rng = np.random.default_rng(3)
    offer = rng.integers(0, 4, ROWS)
    click = (rng.random(ROWS) < np.array([0.6, 0.3, 0.2, 0.05])[offer]).astype(np.int64)
    early = np.arange(ROWS) < ROWS // 5
    columns: dict[str, Any] = {
        "topics": [[f"{topic}:1"] for topic in np.array(["tea", "jam", "jam", "other"])[offer]],
        "country": rng.choice(["DE", "NL"], ROWS),
        "amount": np.where(np.arange(ROWS) % 10 == 0, np.nan, rng.lognormal(3, 1, ROWS)),
        "basket": [[f"item-{i}" for i in rng.integers(0, 9, n % 4)] for n in range(ROWS)],
        "past_clicks": rng.poisson(1, ROWS),
        "offer_id": np.array(BRANDS)[offer],
        "click": click,
        "conversion": click * early * (rng.random(ROWS) < 0.1),
        "time_ms": 1000 * np.arange(ROWS),
    }
    pq.write_table(pa.table(columns), path)


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Refused:
    folder = tmp_path_factory.mktemp("two-tasks")
    (folder / "market.toml").write_text(MARKET)
    write_log(folder / "log.parquet")
    out = folder / "releases"
    (out / "17").mkdir(parents=True)
    command = [sys.executable, "-m", "offerrank", "train", "--market", str(folder / "market.toml"), "--json"]
    command += ["--data", str(folder / "log.parquet"), "--out", str(out), "--work-dir", str(folder / "work")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=560)
    (work,) = (folder / "work").iterdir()
    return Refused(run.returncode, run.stdout, run.stderr, out, work / "artifacts")


@pytest.fixture(scope="module")
def report(refused: Refused) -> EvaluationReport:
    (path,) = refused.artifacts.glob("Assessor/assessment/*/evaluation.json")
    return EvaluationReport.model_validate_json(path.read_bytes())


def test_a_model_that_misses_a_gate_is_not_silent(refused: Refused, report: EvaluationReport) -> None:
    assert refused.code == 3
    value = report.tasks["ctr"].calibrated.auc
    assert f"AUC of ctr is {value:.4f}, training.gates.ctr.min_auc asks for 0.999" in " ".join(refused.stderr.split())
    assert "Traceback" not in refused.stderr
    assert refused.stdout == ""


def test_a_model_that_misses_a_gate_is_not_released(refused: Refused) -> None:
    assert versions(refused.out) == [17]


def test_a_refused_run_is_recorded_with_its_gates_rows_seconds_and_memory(refused: Refused, report: EvaluationReport) -> None:
    (run,) = recent_runs(refused.out)
    assert (run.kind, run.market, run.outcome, run.release) == ("training", "two-tasks", "refused", None)
    assert "training.gates.ctr.min_auc asks for 0.999" in run.why
    assert run.details["gates"] == [gate.model_dump() for gate in report.gates]
    assert run.details["anomalies"] == []
    steps = {step.name: step for step in run.steps}
    assert list(steps)[:2] == ["read", "import TFX"]
    assert list(steps)[-1] == "Pusher"
    assert len(steps) == 16
    assert [name for name, step in steps.items() if step.failed] == ["Pusher"]
    train, valid, judged = (run.details["rows"][split] for split in ("train", "valid", "eval"))
    assert (steps["read"].rows_out, steps["Trainer"].rows_in) == (train + valid + judged, train + valid)
    # Counted in what the step wrote: none was lost on the way.
    assert (steps["StatisticsGen"].rows_in, steps["StatisticsGen"].rows_out) == (train + judged, train + judged)
    assert (steps["Assessor"].rows_in, steps["Assessor"].rows_out) == (judged, judged)
    assert all(step.peak_bytes is not None and 0 < step.peak_bytes < 2**36 for step in run.steps)


def test_ml_metadata_of_a_refused_run_stays_and_says_what_it_was(refused: Refused) -> None:
    (run,) = recent_runs(refused.out)
    store = opened(metadata_beside(refused.out))
    (context,) = store.get_contexts_by_type("pipeline_run")
    told = context.custom_properties
    assert (told["run"].string_value, told["outcome"].string_value) == (run.id, "refused")
    assert "asks for 0.999" in told["why"].string_value
    assert json.loads(told["rows"].string_value) == run.details["rows"]
    executions = store.get_executions_by_context(context.id)
    assert {e.custom_properties["component"].string_value for e in executions} == {s.name for s in run.steps[2:]}
    (release,) = store.get_artifacts(ListOptions(filter_query="custom_properties.version.int_value > 17"))
    assert json.loads(release.custom_properties["rows"].string_value) == run.details["rows"]
    assert release.state != Artifact.DELETED  # --work-dir keeps it


def test_to_an_orchestrator_a_refused_model_is_a_task_that_failed(refused: Refused) -> None:
    with sqlite3.connect(refused.artifacts.parent / "metadata.sqlite") as db:
        query = "SELECT Type.name, last_known_state FROM Execution JOIN Type ON Type.id = type_id ORDER BY Execution.id"
        *others, pusher = db.execute(query).fetchall()
    complete, failed = 3, 4  # of ML Metadata's Execution.State
    assert pusher == ("pipelines.components.atomic_pusher.AtomicPusher", failed)
    assert {state for _, state in others} == {complete}


def test_the_report_of_a_refused_model_is_kept_and_named(refused: Refused) -> None:
    path = refused.artifacts.parent / "report.html"
    assert f"report: {path}" in " ".join(refused.stderr.split())
    page = path.read_text()
    assert "<b>Not released:</b> AUC of ctr is" in page
    assert "1970-01-01 00:00 UTC" in page  # where the training rows begin


def test_a_release_in_service_that_cannot_be_loaded_is_named_and_not_compared_with(report: EvaluationReport) -> None:
    assert report.in_service is not None
    assert report.in_service.version == 17
    assert "release.json: no such file" in report.in_service.note
    (skipped,) = [g for g in report.gates if g.key == "training.gates.ctr.max_log_loss_increase"]
    assert (skipped.verdict, skipped.note) == ("skipped", report.in_service.note)


def test_the_report_counts_what_was_trained_on(report: EvaluationReport) -> None:
    train = report.data.splits["train"]
    assert (train.rows, train.first, train.last) == (2100, "0", "2099000")
    assert train.tasks["cvr"].rows == train.tasks["ctr"].positives


def test_where_it_is_asked_for_tfx_s_evaluator_withholds_its_blessing_too(refused: Refused) -> None:
    assert [p.name for p in refused.artifacts.glob("Evaluator/blessing/*/*")] == ["NOT_BLESSED"]


def test_both_tasks_are_measured_and_undefined_metrics_are_null(report: EvaluationReport) -> None:
    ctr, cvr = report.tasks["ctr"], report.tasks["cvr"]
    assert ctr.rows == 600
    assert ctr.calibrated.auc is not None
    assert ctr.calibrated.auc > 0.65
    assert cvr.rows == ctr.positives
    assert (cvr.positives, cvr.raw.auc, cvr.calibrated.pcoc) == (0, None, None)
    assert set(ctr.slices["country"]) == {"DE", "NL"}


def test_a_gate_with_too_few_positives_cannot_be_judged_and_says_so(refused: Refused, report: EvaluationReport) -> None:
    unjudged = [g for g in report.gates if g.task == "cvr" and "increase" not in g.key]
    assert {g.verdict for g in unjudged} == {"unjudged"}
    said = f"; cvr cannot be judged: 0 positives in {report.tasks['cvr'].rows} rows, min_positives asks for 100; report: "
    assert said in " ".join(refused.stderr.split())


def test_the_model_server_answered_as_the_model_does(refused: Refused) -> None:
    log = refused.artifacts.parent / "serving" / "model-server.log"  # it starts ahead of ServingCheck
    assert "available" in log.read_text()


@pytest.fixture(scope="module")
def predict(refused: Refused) -> Callable[[int], dict[str, Any]]:
    """Probabilities of alpha and delta for a shopper with this many past clicks, from France, with nothing known of the rest."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own imports
        from models.legacy_keras import tf
    (manifest,) = refused.artifacts.glob(f"Release/release_model/*/Format-Serving/{MANIFEST}")
    model, market = tf.saved_model.load(str(manifest.parents[1])), load_market(refused.out.parent / "market.toml")

    def ask(past_clicks: int) -> dict[str, Any]:
        page = assemble(
            market, {"country": "FR", "past_clicks": past_clicks}, OfferColumns.of(market), np.array([0, 3], np.int32)
        )
        inputs = {name: tf.constant(x) for name, x in page.items()}
        return {name: x.numpy() for name, x in model.signatures["serving_default"](**inputs).items()}

    return ask


def test_the_network_has_an_output_for_each_task(predict: Callable[[int], dict[str, Any]]) -> None:
    p = predict(2)
    assert set(p) == {"ctr", "cvr"}
    assert all(x.shape == (2,) and x.dtype == np.float32 for x in p.values())
    assert p["ctr"][0] > 1.5 * p["ctr"][1]
    assert np.all(p["cvr"] < 0.2)


def test_a_number_beyond_those_trained_on_counts_as_the_largest_of_them(
    refused: Refused, predict: Callable[[int], dict[str, Any]]
) -> None:
    log = pq.read_table(refused.out.parent / "log.parquet")
    trained = log["past_clicks"].to_numpy()[: ROWS * 7 // 10]
    largest = int(trained.max())
    np.testing.assert_array_equal(predict(largest)["ctr"], predict(1000)["ctr"])
    assert np.any(predict(largest)["ctr"] != predict(largest - 1)["ctr"])


def test_calibration_of_a_conditional_task_uses_the_rows_that_count(refused: Refused) -> None:
    (path,) = refused.artifacts.glob("Assessor/assessment/*/eval_predictions.parquet")
    rows = pq.read_table(path)
    assert rows.num_rows == 600
    columns = {"country", "amount", "basket", "past_clicks", "offer_id", "topics", "topics_weights", "click", "conversion"}
    places = {"log.file", "log.row", "log.time_ms"}
    predicted = {column(task) for task in ("ctr", "cvr") for column in (raw_column, calibrated_column)}
    assert (
        set(rows.column_names)
        == columns
        | {
            "time_ms",
            "cluster_id",
            "explored",
            "propensity_ppb",
            "click_usable",
            "conversion_usable",
            "cvr_counts",
            "examination",
        }
        | predicted
        | places
    )
    assert rows["cvr_counts"].equals(rows["click"])
    # Nothing converted in `valid`: calibration lowers the probability, and does not drive it to nothing.
    assert 0 < rows[calibrated_column("cvr")].to_numpy().mean() < rows[raw_column("cvr")].to_numpy().mean()


def test_what_is_missing_stays_missing_from_the_log_to_the_evaluation(refused: Refused) -> None:
    (path,) = refused.artifacts.glob("Assessor/assessment/*/eval_predictions.parquet")
    rows = pq.read_table(path)
    assert np.isnan(rows["amount"].to_numpy()).sum() == 60  # every tenth of 600
    assert {len(basket) for basket in rows["basket"].to_pylist()} == {3}
    assert sum(basket == ["", "", ""] for basket in rows["basket"].to_pylist()) == 150  # every fourth
    assert {tuple(weights) for weights in rows["topics_weights"].to_pylist()} == {(1.0, 0.0)}
    assert not np.isnan(rows[raw_column("ctr")].to_numpy()).any()
