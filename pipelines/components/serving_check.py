"""Loads the release in a model server and asks it, as serving will: a release that does not answer alike is not pushed."""

import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc, prediction_service_pb2_grpc
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import InfraBlessing, Model
from tfx.utils import path_utils

from domain.errors import ContractError
from features.assemble import OfferColumns, Tensor, assemble, from_rows
from features.market import Market, load_market
from features.spec import VALUE_MICROS
from models import release
from models.legacy_keras import tf
from pipelines.components.release import MODEL_NAME, predict_request
from pipelines.server_ahead import started_ahead
from store.ports import free_port

ROWS = 256
TOLERANCE = 1e-5
START_TIMEOUT_S = 600.0  # on a machine that trains elsewhere at the same time; one that ends is noticed at once
CALL_TIMEOUT_S = 30.0
POLL_INTERVAL_S = 0.2
AVAILABLE = get_model_status_pb2.ModelVersionStatus.AVAILABLE

log = logging.getLogger(__name__)

Predictions = dict[str, NDArray[np.float32]]


@component
def ServingCheck(  # noqa: N802
    release_model: InputArtifact[Model], blessing: OutputArtifact[InfraBlessing], market_file: Parameter[str]
) -> None:
    """Blesses the release if `check_serving` passes."""
    folder = Path(path_utils.serving_model_path(release_model.uri))
    check_serving(load_market(Path(market_file)), folder, Path(blessing.uri))
    blessing.set_int_custom_property("blessed", 1)


def check_serving(market: Market, folder: Path, work: Path) -> None:
    """Starts a model server on a sealed release, unless one was started ahead, and asks it.

    Args:
      work: the server's releases folder and its output go here.
    Raises:
      ContractError: the server did not start, or names what it answered otherwise than the model does offline.
    """
    version = release.Manifest.model_validate_json((folder / release.MANIFEST).read_bytes()).version
    ahead = started_ahead()
    base = ahead.base if ahead else work / "releases"
    with linked(base / str(version), folder):
        release.load_release(base / str(version)).compatible_with(market)
        serving = nullcontext(ahead.server) if ahead else model_server(base, work / "model-server.log")
        with serving as server, grpc.insecure_channel(server.address) as channel:
            questions = list(_questions(market, folder))  # while the server starts
            server.await_available()
            predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
            for what, tensors, expected in questions:
                response = predict(predict_request("serving_default", tensors), timeout=CALL_TIMEOUT_S)
                _compare(what, expected, {name: tf.make_ndarray(value) for name, value in response.outputs.items()})


def _questions(market: Market, folder: Path) -> Iterator[tuple[str, dict[str, Tensor], Predictions]]:
    """(name, tensors, expected): logged rows against the evaluation, then one request for all offers against the model itself."""
    logged = pq.read_table(folder / release.EVAL_PREDICTIONS).slice(0, ROWS)
    rows = {t.name: from_rows(t, logged[t.name].to_pylist()) for f in market.features for t in f.tensors}
    values = [VALUE_MICROS] if release.raw_column(VALUE_MICROS) in logged.column_names else []
    outputs = [*(t.name for t in market.served_tasks), *values]
    offline = {name: logged[release.raw_column(name)].to_numpy() for name in outputs}
    yield f"{len(logged)} rows of the evaluation", rows, offline
    catalogue = OfferColumns.of(market)
    offers = np.arange(min(len(market.offers), market.policy.max_candidates), dtype=np.int32)
    page = assemble(market, {}, catalogue, offers)
    rank = tf.saved_model.load(str(folder)).signatures["serving_default"]
    here = {name: p.numpy() for name, p in rank(**{k: tf.constant(v) for k, v in page.items()}).items()}
    yield f"one request for {len(offers)} offers", page, here


def _compare(what: str, expected: Predictions, got: Predictions) -> None:
    if got.keys() != expected.keys():
        raise ContractError(f"serving check, {what}: expected outputs {sorted(expected)}, got {sorted(got)}")
    for task, p in expected.items():
        if got[task].shape != p.shape:
            raise ContractError(f"serving check, {what}: expected {task} of shape {p.shape}, got {got[task].shape}")
        worst = float((np.abs(got[task] - p) / np.maximum(np.abs(p), 1)).max())  # relative, of a value in micros
        if not worst <= TOLERANCE:
            raise ContractError(f"serving check, {what}: {task} differs by {worst:.2e}, more than {TOLERANCE:.0e}")


@dataclass(frozen=True, slots=True)
class Server:
    """A model server that was started."""

    address: str
    process: "subprocess.Popen[bytes]"
    output: Path

    def await_available(self) -> None:
        """Returns once a version answers.

        Raises:
          ContractError: the server ended or did not load the model in time; says its last words.
        """
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = MODEL_NAME
        deadline = time.monotonic() + START_TIMEOUT_S
        with grpc.insecure_channel(self.address) as channel:
            status = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus
            while time.monotonic() < deadline and self.process.poll() is None:
                try:
                    found = status(request, timeout=CALL_TIMEOUT_S).model_version_status
                except grpc.RpcError:
                    found = []
                if any(v.state == AVAILABLE for v in found):
                    return
                time.sleep(0.1)
        said = self.output.read_text(errors="replace").strip() or "it said nothing"
        log.error("the model server said:\n%s", said)
        raise ContractError(f"serving check: the model server did not load the release: {said.splitlines()[-1]}")


@contextmanager
def linked(path: Path, folder: Path) -> Iterator[None]:
    """A link to a folder, gone in the end: TFX removes what a failed component wrote, and stumbles over links."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(folder.resolve(), target_is_directory=True)
    try:
        yield
    finally:
        path.unlink()


@contextmanager
def model_server(base: Path, output: Path) -> Iterator[Server]:
    """A model server over `base` as a child process, started and not yet awaited; ended on leaving."""
    port = free_port()
    command = [sys.executable, "-m", "serving.model_server.child", "--model-base-path", str(base), "--model-name", MODEL_NAME]
    command += ["--port", str(port), "--rest-port", str(free_port()), "--poll-interval-s", str(POLL_INTERVAL_S)]
    with output.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield Server(f"127.0.0.1:{port}", process, output)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
