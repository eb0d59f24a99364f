"""`offerrank train` on the coupon data: the release, its numbers, and its SavedModel reloaded."""

import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from domain.errors import ContractError
from features.assemble import OfferColumns, assemble, request_tensors, to_tensor
from features.market import Market, load_market
from models import release
from models.evaluation import EvaluationReport
from models.metrics import auc
from retrieval.index import load_index
from tests.integration.conftest import TrainedRelease

COMPONENTS = {
    *("ExampleGen", "StatisticsGen", "ImportSchemaGen", "ExampleValidator", "AnomalyCheck", "Transform", "Trainer"),
    *("Calibrator", "Assessor", "Release", "ServingCheck", "Pusher"),
}


@pytest.fixture(scope="module")
def market(coupon_release: TrainedRelease) -> Market:
    return load_market(coupon_release.market)


@pytest.fixture(scope="module")
def tf() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own imports
        from models.legacy_keras import tf
    return tf


@pytest.fixture(scope="module")
def signatures(tf: Any, coupon_release: TrainedRelease) -> Any:
    model = tf.saved_model.load(str(coupon_release.path))
    called = {name: _arrays(tf, fn) for name, fn in model.signatures.items()}
    called["keep alive"] = model
    return called


def _arrays(tf: Any, fn: Any) -> Any:
    return lambda **inputs: {k: v.numpy() for k, v in fn(**{k: tf.constant(v) for k, v in inputs.items()}).items()}


@pytest.fixture(scope="module")
def eval_rows(coupon_release: TrainedRelease) -> Any:
    return pq.read_table(coupon_release.path / release.EVAL_PREDICTIONS)


def test_it_reaches_the_accuracy_that_the_data_allows(coupon_release: TrainedRelease) -> None:
    ctr = coupon_release.result["metrics"]["ctr"]
    assert ctr["calibrated"]["auc"] >= 0.80
    assert 0.95 <= ctr["calibrated"]["pcoc"] <= 1.05
    assert ctr["calibrated"]["log_loss"] < 0.56
    assert ctr["calibrated"]["auc"] == pytest.approx(ctr["raw"]["auc"])
    assert set(ctr["raw"]) == {"auc", "log_loss", "pcoc", "normalised_entropy"}


def test_the_split_is_seventy_thirty_and_the_same_every_time(coupon_release: TrainedRelease) -> None:
    assert coupon_release.result["rows"] == {"train": 7659, "valid": 1217, "eval": 3808}


def test_seconds_are_told_for_every_component(coupon_release: TrainedRelease) -> None:
    seconds = coupon_release.result["seconds"]
    assert seconds.keys() >= COMPONENTS
    assert all(s >= 0 for s in seconds.values())
    for component in COMPONENTS:
        assert component in coupon_release.progress


def test_logs_of_the_libraries_stay_out_of_the_way(coupon_release: TrainedRelease) -> None:
    # TensorFlow 2.21 writes some lines while it is imported, before anything can tell it not to.
    told = re.sub(r"^(WARNING: All log messages before absl|I0000 ).*$", "", coupon_release.progress, flags=re.MULTILINE)
    assert "tensorflow/" not in told
    assert "WARNING" not in told


def test_every_gate_was_checked_and_passed(coupon_release: TrainedRelease) -> None:
    gates = {gate["key"].rsplit(".", 1)[1]: gate["verdict"] for gate in coupon_release.result["gates"]}
    assert gates == dict.fromkeys(("min_auc", "max_log_loss", "min_pcoc", "max_pcoc"), "passed")


def test_the_releases_folder_holds_the_release_and_nothing_else(coupon_release: TrainedRelease) -> None:
    kept = {"metadata.sqlite", "runs.sqlite", str(coupon_release.version)}
    assert {p.name for p in coupon_release.releases.iterdir()} == kept
    assert release.versions(coupon_release.releases) == [coupon_release.version]


def test_no_temporary_file_is_left(coupon_release: TrainedRelease) -> None:
    assert list(coupon_release.temporary.iterdir()) == []


def test_the_release_loads_and_fits_its_market(coupon_release: TrainedRelease, market: Market) -> None:
    loaded = release.load_release(coupon_release.path).compatible_with(market)
    assert loaded.version == coupon_release.version
    assert loaded.offer_ids == tuple(o.id for o in market.offers)
    assert loaded.manifest.rows == coupon_release.result["rows"]
    assert loaded.specs.features == market.features
    assert set(loaded.manifest.files) >= set(release.REQUIRED)
    assert (coupon_release.path / release.MARKET).read_bytes() == coupon_release.market.read_bytes()


@pytest.mark.parametrize("name", release.REQUIRED)
def test_a_damaged_file_is_named(coupon_release: TrainedRelease, tmp_path: Path, name: str) -> None:
    copy = tmp_path / str(coupon_release.version)
    shutil.copytree(coupon_release.path, copy)
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(ContractError, match=name):
        release.load_release(copy)
    (copy / name).unlink()
    with pytest.raises(ContractError, match=name):
        release.load_release(copy)


def test_the_model_reproduces_the_offline_evaluation(signatures: Any, eval_rows: Any, market: Market) -> None:
    inputs = {f.name: to_tensor(f, eval_rows[f.name].to_pylist()) for f in market.features}
    raw = eval_rows[release.raw_column("ctr")].to_numpy()
    assert len(raw) == 3808
    assert np.abs(signatures["serving_default"](**inputs)["ctr"] - raw).max() < 1e-6
    one = {name: column[17:18] for name, column in inputs.items()}
    assert abs(signatures["serving_default"](**one)["ctr"][0] - raw[17]) < 1e-6


def test_calibrated_predictions_are_the_calibrators(coupon_release: TrainedRelease, eval_rows: Any) -> None:
    calibrator = release.load_release(coupon_release.path).calibrator
    raw = eval_rows[release.raw_column("ctr")].to_numpy()
    assert np.array_equal(calibrator.apply("ctr", raw), eval_rows[release.calibrated_column("ctr")].to_numpy())


def test_the_reported_auc_is_that_of_the_stored_predictions(coupon_release: TrainedRelease, eval_rows: Any) -> None:
    stored = auc(eval_rows["accepted"].to_numpy(), eval_rows[release.raw_column("ctr")].to_numpy())
    assert stored == pytest.approx(coupon_release.result["metrics"]["ctr"]["raw"]["auc"])


def test_one_request_is_repeated_for_all_offers(signatures: Any, market: Market) -> None:
    every = np.arange(len(market.offers), dtype=np.int32)
    page = assemble(market, {"age": "26", "bar_visits": "gt8"}, OfferColumns.of(market), every)
    broadcast = signatures["serving_default"](**page)["ctr"]
    assert broadcast.shape == (len(market.offers),)
    repeated = {name: np.repeat(x, len(every)) if len(x) == 1 else x for name, x in page.items()}
    assert np.abs(signatures["serving_default"](**repeated)["ctr"] - broadcast).max() < 1e-6
    assert len(np.unique(broadcast)) == len(every)


def test_request_features_may_come_once_or_per_offer_in_any_mix(signatures: Any, market: Market) -> None:
    page = assemble(market, {}, OfferColumns.of(market), np.arange(4, dtype=np.int32))
    mixed = page | {"weather": np.repeat(page["weather"], 4)}
    assert np.abs(signatures["serving_default"](**mixed)["ctr"] - signatures["serving_default"](**page)["ctr"]).max() < 1e-6


def test_lengths_that_do_not_fit_are_refused(tf: Any, signatures: Any, market: Market) -> None:
    page = assemble(market, {}, OfferColumns.of(market), np.arange(4, dtype=np.int32))
    with pytest.raises(tf.errors.InvalidArgumentError):
        signatures["serving_default"](**(page | {"weather": np.repeat(page["weather"], 3)}))


def test_values_never_seen_still_get_a_probability(signatures: Any, market: Market) -> None:
    odd = assemble(market, {"age": "\U0001f600", "temperature": -(2**60)}, OfferColumns.of(market), np.arange(2, dtype=np.int32))
    p = signatures["serving_default"](**odd)["ctr"]
    assert np.all((p > 0) & (p < 1))


def test_the_query_embedding_has_length_one_and_depends_on_the_request(signatures: Any, market: Market) -> None:
    one = signatures["query"](**request_tensors(market, {"bar_visits": "gt8"}))["embedding"]
    other = signatures["query"](**request_tensors(market, {"bar_visits": "never"}))["embedding"]
    assert one.shape == (1, market.model.tower_dim)
    assert one.dtype == np.float32
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-5)
    assert np.abs(one - other).max() > 1e-3


def test_the_index_holds_the_embeddings_of_the_offers(coupon_release: TrainedRelease, signatures: Any, market: Market) -> None:
    index = load_index(coupon_release.path / release.EXTRA)
    assert index.ids == tuple(o.id for o in market.offers)
    embeddings = signatures["offers"](**OfferColumns.of(market).columns)["embedding"]
    assert np.abs(index.embeddings - embeddings).max() < 1e-6
    assert np.linalg.norm(index.embeddings, axis=1) == pytest.approx(np.ones(len(market.offers)), abs=1e-5)


def test_towers_know_who_likes_what(signatures: Any, eval_rows: Any, market: Market) -> None:
    requests = {f.name: to_tensor(f, eval_rows[f.name].to_pylist()) for f in market.request_features}
    offers = {f.name: to_tensor(f, eval_rows[f.name].to_pylist()) for f in market.offer_features}
    queries, shown = signatures["query"](**requests)["embedding"], signatures["offers"](**offers)["embedding"]
    coupons = np.array(eval_rows["coupon"].to_pylist())
    accepted, fit = eval_rows["accepted"].to_numpy(), (queries * shown).sum(axis=1)
    found = [auc(accepted[rows], fit[rows]) for rows in (coupons == coupon for coupon in np.unique(coupons))]
    assert len(found) == 5
    # Within one coupon, so that popular coupons do not count as taste.
    assert np.mean(np.array(found, float)) > 0.58


def test_examples_give_the_same_as_tensors(tf: Any, signatures: Any, eval_rows: Any, market: Market) -> None:
    rows = eval_rows.slice(0, 20).to_pylist()
    serialized = [_example(tf, {f.name: row[f.name] for f in market.features}) for row in rows]
    got = signatures["examples"](examples=np.array(serialized, dtype=object))["ctr"]
    assert np.abs(got - [row[release.raw_column("ctr")] for row in rows]).max() < 1e-6


def test_an_example_without_features_takes_the_defaults(tf: Any, signatures: Any, market: Market) -> None:
    got = signatures["examples"](examples=np.array([_example(tf, {})], dtype=object))["ctr"]
    defaults = {f.name: to_tensor(f, [f.default]) for f in market.features}
    assert got == pytest.approx(signatures["serving_default"](**defaults)["ctr"], abs=1e-6)


def _example(tf: Any, values: dict[str, Any]) -> bytes:
    features = {}
    for name, value in values.items():
        if isinstance(value, str):
            features[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
        else:
            features[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    return bytes(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


def test_warm_up_requests_are_for_the_signatures_of_the_model(tf: Any, coupon_release: TrainedRelease) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorflow_serving.apis import prediction_log_pb2
    records = tf.data.TFRecordDataset(str(coupon_release.path / release.WARMUP)).as_numpy_iterator()
    logs = [prediction_log_pb2.PredictionLog.FromString(r).predict_log.request for r in records]
    assert {log.model_spec.signature_name for log in logs} == {"serving_default", "query"}
    assert {log.model_spec.name for log in logs} == {"ranker"}


def test_baseline_statistics_describe_the_training_rows(coupon_release: TrainedRelease, market: Market) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorflow_metadata.proto.v0 import statistics_pb2
    content = (coupon_release.path / release.STATISTICS).read_bytes()
    (split,) = statistics_pb2.DatasetFeatureStatisticsList.FromString(content).datasets
    assert split.num_examples == 7659
    beside = {"accepted", "accepted_usable", "time_ms", "log_row", "cluster_id", "explored", "propensity_ppb"}
    assert {f.path.step[0] for f in split.features} == {f.name for f in market.features} | beside


@pytest.fixture(scope="module")
def evaluation(coupon_release: TrainedRelease) -> EvaluationReport:
    return EvaluationReport.model_validate_json((coupon_release.path / release.EVALUATION).read_bytes())


def test_slices_of_the_report_cover_the_eval_split(evaluation: EvaluationReport) -> None:
    slices = evaluation.tasks["ctr"].slices["coupon"]
    assert len(slices) == 5
    assert sum(one.rows for one in slices.values()) == 3808


def test_importance_knows_what_matters(evaluation: EvaluationReport, market: Market) -> None:
    lost = evaluation.tasks["ctr"].importance
    assert set(lost) == {f.name for f in market.features}
    assert next(iter(lost)) == "coupon"
    assert lost["coupon"] > 0.05 > abs(lost["gender"])
    ctr = evaluation.tasks["ctr"]
    assert ctr.importance_rows is not None
    # Up to 4,000 rows all count.
    assert (ctr.importance_rows.rows, ctr.importance_rows.positives) == (3808, ctr.positives)
    assert ctr.importance_intervals["coupon"].low > ctr.importance_intervals["gender"].high


def test_the_report_travels_with_the_release(coupon_release: TrainedRelease) -> None:
    page = (coupon_release.path / release.REPORT).read_text()
    assert coupon_release.result["report"] == str(coupon_release.path / release.REPORT)
    assert release.REPORT in release.load_release(coupon_release.path).manifest.files
    assert "<b>Released:</b>" in page
    assert f"{coupon_release.result['metrics']['ctr']['calibrated']['auc']:.4f}" in page
    assert "passes over the training rows" in page
