"""Puts a release together: the SavedModel and everything that travels with it."""

import json
import shutil
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import ExampleStatistics, Model, ModelEvaluation
from tfx.utils import path_utils

from domain.clock import now_ms
from features.assemble import OfferColumns, Tensor, assemble, request_tensors
from features.market import Market, load_market
from models import release
from models.legacy_keras import tf
from pipelines.components.assessor import EVALUATION_FILE, PREDICTIONS_FILE
from pipelines.components.calibrator import CALIBRATOR_FILE
from pipelines.examination import curve_of
from pipelines.report import write_report
from pipelines.scoring import load_signatures
from retrieval.index import build_index

MODEL_NAME = "ranker"
WARM_UP_TIMES = 3
PACKAGES = ("tfx", "tensorflow", "tf-keras", "tensorflow-recommenders", "offerrank")


@component
def Release(  # noqa: N802
    model: InputArtifact[Model],
    calibration: InputArtifact[ModelEvaluation],
    assessment: InputArtifact[ModelEvaluation],
    statistics: InputArtifact[ExampleStatistics],
    release_model: OutputArtifact[Model],
    market_file: Parameter[str],
    releases: Parameter[str],
    origin_file: Parameter[str],
) -> None:
    """Writes a sealed release as the artifact's serving model; `origin_file` holds a `models.release.Origin`."""
    market = load_market(Path(market_file))
    folder = Path(path_utils.serving_model_path(release_model.uri))
    shutil.copytree(path_utils.serving_model_path(model.uri), folder)
    (folder / release.PROGRESSIVE).unlink(missing_ok=True)  # eval_predictions.parquet has it
    extra = folder / release.EXTRA
    extra.mkdir(exist_ok=True)
    shutil.copy(Path(calibration.uri) / CALIBRATOR_FILE, extra)
    shutil.copy(Path(assessment.uri) / EVALUATION_FILE, extra)
    shutil.copy(Path(assessment.uri) / PREDICTIONS_FILE, extra)
    shutil.copy(market_file, folder / release.MARKET)
    (folder / release.STATISTICS).parent.mkdir()
    splits = (Path(statistics.uri) / f"Split-{split}" / "FeatureStats.pb" for split in ("train", "eval"))
    shutil.copy(next(split for split in splits if split.exists()), folder / release.STATISTICS)
    specs = release.FeatureSpecs.of(market)
    (folder / release.FEATURE_SPEC).write_text(specs.model_dump_json(indent=2) + "\n", encoding="utf-8")
    catalogue = OfferColumns.of(market)
    signatures = load_signatures(path_utils.serving_model_path(model.uri))
    embeddings = embed_offers(signatures["offers"], catalogue)
    build_index([o.id for o in market.offers], embeddings).save(extra)
    write_warm_up(market, catalogue, folder / release.WARMUP)
    created_ms = now_ms()
    version = release.next_version(Path(releases), created_ms // 1000)
    write_report(folder, folder / release.REPORT, version)
    manifest = release.seal(
        folder,
        release.Manifest(
            version=version,
            market=market.name,
            created_ms=created_ms,
            inputs=release.inputs_of(market),
            tasks=tuple(t.name for t in market.served_tasks),
            embedding_dim=embeddings.shape[1],
            **release.Origin.model_validate_json(Path(origin_file).read_bytes()).model_dump(),
            packages={name: installed(name) for name in PACKAGES},
            examination=curve_of(signatures["evaluate"], market),
        ),
    )
    _say(release_model, manifest)


def _say(artifact: Any, manifest: release.Manifest) -> None:
    """In ML Metadata, where the folder of the artifact may be gone when somebody asks."""
    artifact.set_int_custom_property("version", manifest.version)
    artifact.set_string_custom_property("rows", json.dumps(manifest.rows))
    for name, value in (("trained_through_ms", manifest.trained_through_ms), ("warm_from", manifest.warm_from)):
        if value is not None:
            artifact.set_int_custom_property(name, value)


def embed_offers(offers: Any, catalogue: OfferColumns) -> NDArray[np.float32]:
    """[N, D], the whole catalogue through the offer tower, the signature `offers`, in its order."""
    tensors = {name: tf.constant(column) for name, column in catalogue.columns.items()}
    embeddings: NDArray[np.float32] = offers(**tensors)["embedding"].numpy()
    return embeddings


def write_warm_up(market: Market, catalogue: OfferColumns, path: Path) -> None:
    """Requests that a model server replays before a version takes traffic: one offer, and as many as are ranked at most."""
    everything = np.arange(min(len(market.offers), market.policy.max_candidates), dtype=np.int32)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for offers in (everything[:1], everything):
            for _ in range(WARM_UP_TIMES):
                writer.write(_logged("serving_default", assemble(market, {}, catalogue, offers)))
        writer.write(_logged("query", request_tensors(market, {})))


def predict_request(signature: str, tensors: dict[str, Tensor]) -> predict_pb2.PredictRequest:
    """A gRPC Predict request for the ranker."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = MODEL_NAME
    request.model_spec.signature_name = signature
    for name, tensor in tensors.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(tensor))
    return request


def _logged(signature: str, tensors: dict[str, Tensor]) -> bytes:
    request = predict_request(signature, tensors)
    log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    return bytes(log.SerializeToString())
