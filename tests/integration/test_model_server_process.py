"""The real server process, the gateway's client, and TF Serving's own stubs against it."""

import asyncio
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc
import numpy as np
import pytest
from collector import collecting
from numpy.typing import NDArray

from domain.errors import ContractError, DependencyTimeout, Unavailable
from serving.gateway.adapters import predict_messages as messages
from serving.gateway.adapters.model_client import ModelClient
from store.ports import free_port

# Google's client libraries warn about the Python version when TensorFlow is imported.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

T = TypeVar("T")
Tensors = dict[str, NDArray[Any]]
REQUEST_FEATURES = ("segment", "amount")


def strings(*values: str) -> NDArray[np.object_]:
    array = np.empty(len(values), dtype=object)
    array[:] = [v.encode() for v in values]
    return array


def inputs(m: int = 3) -> Tensors:
    """One shopper, m offers."""
    return {
        "segment": strings("loyal"),
        "amount": np.array([20.0], dtype=np.float32),
        "category": np.arange(m, dtype=np.int64),
        "brand": strings(*["b" * (i % 5) for i in range(m)]),
    }


def expected_ctr(version: int, tensors: Tensors) -> NDArray[np.float64]:
    """What `export` computes, in NumPy: the version is in the bias, so that an answer says which version gave it."""
    length = np.vectorize(len, otypes=[float])
    logit = version - 3 + 0.01 * tensors["amount"] + 0.1 * length(tensors["segment"])
    logit = logit + 0.05 * tensors["category"] - 0.2 * length(tensors["brand"])
    return 1 / (1 + np.exp(-logit))


def export(path: Path, version: int, *, warm_up: Tensors | None = None) -> Path:
    """A SavedModel with the signatures of a release, in a folder that appears by a rename."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    def vector(dtype: Any, name: str) -> Any:
        return tf.TensorSpec([None], dtype, name)

    shopper = {"segment": vector(tf.string, "segment"), "amount": vector(tf.float32, "amount")}
    offer = {"category": vector(tf.int64, "category"), "brand": vector(tf.string, "brand")}

    class Ranker(tf.Module):
        def __init__(self) -> None:
            self.bias = tf.Variable(version - 3.0)
            vocabulary = tf.lookup.KeyValueTensorInitializer(["loyal", "new"], tf.constant([0, 1], tf.int64))
            self.segments = tf.lookup.StaticHashTable(vocabulary, -1)

        def score(self, x: Any) -> Any:
            length = {n: tf.cast(tf.strings.length(x[n]), tf.float32) for n in ("segment", "brand")}
            logit = self.bias + 0.01 * x["amount"] + 0.1 * length["segment"]
            logit += 0.05 * tf.cast(x["category"], tf.float32) - 0.2 * length["brand"]
            return {"ctr": tf.sigmoid(logit), "cvr": 0.5 * tf.sigmoid(logit)}

        @tf.function(input_signature=[shopper | offer])
        def rank(self, x: Any) -> Any:
            return self.score(x)

        @tf.function(input_signature=[shopper])
        def query(self, x: Any) -> Any:
            one_hot = tf.one_hot(self.segments.lookup(x["segment"]), 2)
            return {"embedding": tf.math.l2_normalize(one_hot, axis=1)}

        @tf.function(input_signature=[vector(tf.string, "examples")])
        def examples(self, examples: Any) -> Any:
            spec = {n: tf.io.FixedLenFeature([], t.dtype) for n, t in (shopper | offer).items()}
            return self.score(tf.io.parse_example(examples, spec))

        @tf.function(input_signature=[vector(tf.int64, "steps")])
        def slow(self, steps: Any) -> Any:
            x = tf.fill([128, 128], 0.01)
            for _ in tf.range(steps[0]):
                x = tf.tanh(x @ x)
            return {"done": tf.reshape(tf.reduce_sum(x) * 0 + 1, [1])}

    module = Ranker()
    folder = path / str(version)
    unfinished = path / f"{version}.tmp"
    tf.saved_model.save(
        module,
        str(unfinished),
        signatures={
            "serving_default": module.rank,
            "query": module.query,
            "examples": module.examples,
            "slow": module.slow,
        },
    )
    if warm_up is not None:
        request = predict_pb2.PredictRequest(inputs={n: tf.make_tensor_proto(a) for n, a in warm_up.items()})
        (unfinished / "assets.extra").mkdir()
        with tf.io.TFRecordWriter(str(unfinished / "assets.extra" / "tf_serving_warmup_requests")) as writer:
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
    unfinished.rename(folder)
    return folder


class Server:
    """A model server process on free ports; its log is a file."""

    def __init__(self, base_path: Path, log: Path) -> None:
        self.base_path = base_path
        self.log = log
        self.port, self.rest_port = free_port(), free_port()
        self.process: subprocess.Popen[str] | None = None

    @property
    def command(self) -> list[str]:
        ports = ["--port", str(self.port), "--rest-port", str(self.rest_port)]
        base = ["--model-base-path", str(self.base_path), "--model-name", "ranker", "--poll-interval-s", "0.1"]
        return [sys.executable, "-m", "serving.model_server", *base, *ports]

    def start(self) -> None:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith(f"model-server ready: gRPC 127.0.0.1:{self.port}"), line + self.log.read_text()

    def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.send_signal(number)
        code = self.process.wait(60)
        self.process.stdout.close()
        self.process = None
        return code

    def client(self, model: str = "ranker") -> ModelClient:
        return ModelClient(f"127.0.0.1:{self.port}", model)

    def rest(self, path: str, body: Any = None) -> tuple[int, Any]:
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.rest_port}{path}", data)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)


@dataclass
class Model:
    """A model of a test's own on the shared server."""

    server: Server
    name: str
    path: Path

    def predict(self, signature: str, version: int | None, tensors: Tensors, timeout_s: float = 20) -> Tensors:
        return self.call(lambda client: client.predict(signature, version, tensors, timeout_s))

    def available(self) -> list[int]:
        return self.call(lambda client: client.available_versions(20))

    def call(self, use: Callable[[ModelClient], Awaitable[T]]) -> T:
        async def run() -> T:
            client = self.server.client(self.name)
            try:
                return await use(client)
            finally:
                await client.close()

        return asyncio.run(run())

    def wait_until(self, true: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 60
        while not true():
            assert time.monotonic() < deadline, f"not {what}: {self.server.log.read_text()[-2000:]}"
            time.sleep(0.05)

    def wait_for(self, *versions: int) -> None:
        self.wait_until(lambda: self.available() == list(versions), f"serving {versions}")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions 1 to 4, to be copied; 4 has warm-up requests."""
    path = tmp_path_factory.mktemp("exported")
    for version in (1, 2, 3):
        export(path, version)
    export(path, 4, warm_up=inputs())
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the module, started on a folder that does not exist yet."""
    path = tmp_path_factory.mktemp("server")
    server = Server(path / "releases", path / "log")
    server.start()
    yield server
    assert server.end(signal.SIGTERM) == 0


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel


def publish(exported: Path, path: Path, version: int, number: int | None = None) -> None:
    """A version appears as the pusher makes it, by a rename; `number` is another name for it."""
    number = version if number is None else number
    shutil.copytree(exported / str(version), path / f"{number}.tmp")
    (path / f"{number}.tmp").rename(path / str(number))


def reload(channel: grpc.Channel, *configs: dict[str, Any]) -> Any:
    from google.protobuf import json_format
    from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc

    request = model_management_pb2.ReloadConfigRequest()
    json_format.ParseDict({"config": {"modelConfigList": {"config": list(configs)}}}, request)
    return model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest(request, timeout=60)


def config(name: str, path: Path, **more: Any) -> dict[str, Any]:
    return {"name": name, "basePath": str(path), "modelVersionPolicy": {"latest": {"numVersions": 2}}} | more


@pytest.fixture
def model(server: Server, channel: grpc.Channel, exported: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Model:
    """A model named for the test with version 1 served, the two newest kept."""
    name = re.sub(r"\W", "_", request.node.name)
    publish(exported, tmp_path, 1)
    reload(channel, config("ranker", server.base_path), config(name, tmp_path))
    return Model(server, name, tmp_path)


def test_waits_for_the_first_version_and_serves_it(server: Server, exported: Path) -> None:
    ranker = Model(server, "ranker", server.base_path)
    assert ranker.available() == []
    with pytest.raises(Unavailable, match="Servable not found for request: Latest"):
        ranker.predict("serving_default", None, inputs())
    server.base_path.mkdir()
    publish(exported, server.base_path, 1)
    ranker.wait_for(1)
    assert ranker.predict("serving_default", 1, inputs())["ctr"].shape == (3,)


def test_one_shopper_is_ranked_against_every_offer(model: Model) -> None:
    sent = inputs(100)
    answer = model.predict("serving_default", 1, sent)
    assert {n: (a.dtype, a.shape) for n, a in answer.items()} == {"ctr": (np.float32, (100,)), "cvr": (np.float32, (100,))}
    np.testing.assert_allclose(answer["ctr"], expected_ctr(1, sent), rtol=1e-5)
    np.testing.assert_allclose(answer["cvr"], expected_ctr(1, sent) / 2, rtol=1e-5)


def test_the_other_signatures_answer_too(model: Model) -> None:
    import tensorflow as tf

    sent = inputs()
    shopper = {n: sent[n] for n in REQUEST_FEATURES}
    assert model.predict("query", 1, shopper)["embedding"].tolist() == [[1.0, 0.0]]
    rows = [
        tf.train.Example(
            features=tf.train.Features(
                feature={
                    "segment": tf.train.Feature(bytes_list=tf.train.BytesList(value=[sent["segment"][0]])),
                    "amount": tf.train.Feature(float_list=tf.train.FloatList(value=[sent["amount"][0]])),
                    "category": tf.train.Feature(int64_list=tf.train.Int64List(value=[sent["category"][i]])),
                    "brand": tf.train.Feature(bytes_list=tf.train.BytesList(value=[sent["brand"][i]])),
                }
            )
        ).SerializeToString()
        for i in range(3)
    ]
    examples = np.array(rows, dtype=object)
    np.testing.assert_allclose(
        model.predict("examples", 1, {"examples": examples})["ctr"], model.predict("serving_default", 1, sent)["ctr"], rtol=1e-6
    )


def test_the_real_stub_gets_the_same_answer_with_version_and_signature_named(model: Model, channel: grpc.Channel) -> None:
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    request = predict_pb2.PredictRequest(inputs={n: tf.make_tensor_proto(a) for n, a in inputs().items()})
    request.model_spec.name = model.name
    request.output_filter.append("ctr")
    response = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=20)
    assert (response.model_spec.name, response.model_spec.version.value) == (model.name, 1)
    assert response.model_spec.signature_name == "serving_default"
    assert list(response.outputs) == ["ctr"]
    # TF Serving answers with typed values, so does this server.
    assert len(response.outputs["ctr"].float_val) == 3
    assert tf.make_ndarray(response.outputs["ctr"]).tolist() == model.predict("serving_default", 1, inputs())["ctr"].tolist()


def test_versions_change_under_traffic_without_an_error(model: Model, exported: Path) -> None:
    sent = inputs(20)
    by_version = {v: expected_ctr(v, sent) for v in (1, 2, 3, 4)}
    stop = threading.Event()
    newest_seen: list[int] = []
    pinned_calls = 0

    async def newest(client: ModelClient) -> None:
        while not stop.is_set():
            ctr = (await client.predict("serving_default", None, sent, 20))["ctr"]
            newest_seen.append(next(v for v, e in by_version.items() if np.allclose(ctr, e, rtol=1e-5)))

    async def pinned(client: ModelClient, version: int) -> None:
        nonlocal pinned_calls
        while not stop.is_set():
            ctr = (await client.predict("serving_default", version, sent, 20))["ctr"]
            np.testing.assert_allclose(ctr, by_version[version], rtol=1e-5)
            pinned_calls += 1

    async def traffic() -> None:
        client = model.server.client(model.name)
        try:
            await asyncio.gather(newest(client), newest(client), pinned(client, 2))
        finally:
            await client.close()

    publish(exported, model.path, 2)
    model.wait_for(1, 2)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(traffic())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        publish(exported, model.path, 3)
        model.wait_for(2, 3)
        model.wait_until(lambda: 3 in newest_seen, "answering with 3")
    finally:
        stop.set()
        thread.join()
    assert failures == []
    assert newest_seen == sorted(newest_seen)
    assert set(newest_seen) == {2, 3}
    assert pinned_calls > 0
    with pytest.raises(Unavailable, match=r"Servable not found for request: Specific\("):
        model.predict("serving_default", 1, sent)


def test_a_corrupt_version_never_serves_and_is_tried_once(model: Model, exported: Path) -> None:
    broken = model.path / "7.tmp"
    shutil.copytree(exported / "2", broken)
    variables = broken / "variables" / "variables.data-00000-of-00001"
    variables.write_bytes(variables.read_bytes()[:2])
    broken.rename(model.path / "7")
    garbage = model.path / "8.tmp"
    garbage.mkdir()
    (garbage / "saved_model.pb").write_bytes(b"not a model")
    garbage.rename(model.path / "8")

    def states() -> dict[int, tuple[str, str]]:
        listed = model.server.rest(f"/v1/models/{model.name}")[1]["model_version_status"]
        return {int(s["version"]): (s["state"], s["status"]["error_code"]) for s in listed}

    model.wait_until(lambda: {7, 8} <= states().keys() and all(states()[v][0] == "END" for v in (7, 8)), "done with 7 and 8")
    assert states()[1] == ("AVAILABLE", "OK")
    assert all(states()[v][1] != "OK" for v in (7, 8))
    np.testing.assert_allclose(model.predict("serving_default", None, inputs())["ctr"], expected_ctr(1, inputs()), rtol=1e-5)
    publish(exported, model.path, 3, number=9)
    model.wait_for(1, 9)
    # Many polls later.
    time.sleep(0.5)
    log = model.server.log.read_text()
    assert log.count(f"{model.name} 7: loading") == log.count(f"{model.name} 8: loading") == 1
    assert f"{model.name} 7: not served" in log


def test_a_version_still_being_copied_is_left_alone(model: Model, exported: Path) -> None:
    shutil.copytree(exported / "2" / "variables", model.path / "2" / "variables")
    (model.path / "2" / "assets").mkdir()
    time.sleep(0.4)
    assert model.server.rest(f"/v1/models/{model.name}/versions/2")[0] == 404
    shutil.copy(exported / "2" / "saved_model.pb", model.path / "2" / "saved_model.pb")
    model.wait_for(1, 2)


def test_a_version_is_warmed_up_before_it_answers(model: Model, exported: Path) -> None:
    publish(exported, model.path, 4)
    model.wait_for(1, 4)
    log = model.server.log.read_text()
    assert re.search(rf"{model.name} 4: warmed up with 1 requests", log)
    assert log.index(f"{model.name} 4: warmed up") < log.index(f"{model.name} 4: available")


def test_a_version_whose_warm_up_fails_never_serves(
    model: Model, exported: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("incompatible")
    renamed = inputs()
    renamed["market"] = renamed.pop("segment")
    export(elsewhere, 5, warm_up=renamed).rename(model.path / "5")
    model.wait_until(lambda: "5: not served" in model.server.log.read_text(), "refusing 5")
    status = model.server.rest(f"/v1/models/{model.name}/versions/5")[1]["model_version_status"][0]
    assert (status["state"], status["status"]["error_code"]) == ("END", "INVALID_ARGUMENT")
    assert "Missing but required: {segment}" in status["status"]["error_message"]
    assert model.available() == [1]


def test_labels_follow_the_configuration(model: Model, channel: grpc.Channel, exported: Path) -> None:
    publish(exported, model.path, 2)
    model.wait_for(1, 2)
    reload(channel, config(model.name, model.path, versionLabels={"stable": 1, "canary": 2}))
    columns = {"inputs": {n: [v.decode() if isinstance(v, bytes) else v for v in a.tolist()] for n, a in inputs().items()}}
    for label, version in (("stable", 1), ("canary", 2)):
        status, answer = model.server.rest(f"/v1/models/{model.name}/labels/{label}:predict", columns)
        assert status == 200
        np.testing.assert_allclose(answer["outputs"]["ctr"], expected_ctr(version, inputs()), rtol=1e-5)
        assert model.server.rest(f"/v1/models/{model.name}/labels/{label}")[1]["model_version_status"][0]["version"] == str(
            version
        )
    with pytest.raises(grpc.RpcError) as refused:
        reload(channel, config(model.name, model.path, versionLabels={"stable": 3}))
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "not currently available for inference" in refused.value.details()
    # Nothing changed.
    assert model.server.rest(f"/v1/models/{model.name}/labels/canary")[0] == 200
    status, answer = model.server.rest(f"/v1/models/{model.name}/labels/beta:predict", columns)
    assert (status, answer) == (400, {"error": "Unrecognized servable version label: beta"})


def test_rest_rows_and_columns_say_what_grpc_says(model: Model) -> None:
    sent = inputs()
    answer = model.predict("serving_default", 1, sent)
    columns = {
        "segment": {"b64": "bG95YWw="},
        "amount": [20.0],
        "category": sent["category"].tolist(),
        "brand": [b.decode() for b in sent["brand"]],
    }
    columns["segment"] = [columns["segment"]]
    path = f"/v1/models/{model.name}/versions/1:predict"
    status, by_column = model.server.rest(path, {"signature_name": "serving_default", "inputs": columns})
    assert status == 200
    assert {n: np.array(v, np.float32).tolist() for n, v in by_column["outputs"].items()} == {
        n: a.tolist() for n, a in answer.items()
    }
    rows = [{"segment": "loyal", "amount": 20.0, "category": i, "brand": b} for i, b in enumerate(columns["brand"])]
    status, by_row = model.server.rest(f"/v1/models/{model.name}:predict", {"instances": rows})
    assert status == 200
    assert [{n: np.float32(v) for n, v in row.items()} for row in by_row["predictions"]] == [
        {n: a[i] for n, a in answer.items()} for i in range(3)
    ]
    status, query = model.server.rest(path, {"signature_name": "query", "inputs": {"segment": ["new"], "amount": [1]}})
    assert (status, query) == (200, {"outputs": [[0.0, 1.0]]})


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v1/models/{}:predict", b"{", 400, "JSON Parse error"),
        ("/v1/models/{}:predict", b"", 400, "document is empty"),
        ("/v1/models/{}:predict", b"\xff\xfe", 400, "JSON Parse error"),
        ("/v1/models/{}:predict", [], 400, "Is not object"),
        ("/v1/models/{}:predict", b"[" * 100_000, 400, "JSON Parse error"),
        ("/v1/models/{}:predict", {}, 400, "Missing 'inputs' or 'instances' key"),
        ("/v1/models/{}:predict", {"inputs": {}, "instances": []}, 400, "only one of 'inputs' or 'instances'"),
        ("/v1/models/{}:predict", {"instances": []}, 400, "No values in 'instances' array"),
        ("/v1/models/{}:predict", {"instances": [1, 2]}, 400, "multiple input tensors"),
        ("/v1/models/{}:predict", {"instances": [{"amount": 1}]}, 400, "keys must be equal to: amount,brand,category,segment"),
        ("/v1/models/{}:predict", {"inputs": {"amount": [1]}}, 400, "Missing named input: "),
        ("/v1/models/{}:predict", {"signature_name": 3, "inputs": []}, 400, "'signature_name' key must be a string"),
        ("/v1/models/{}:predict", {"signature_name": "no", "inputs": []}, 400, "not found in signature def"),
        ("/v1/models/{}:predict", {"signature_name": "slow", "inputs": ["x"]}, 400, "not of expected type: int64"),
        ("/v1/models/{}:predict", {"signature_name": "slow", "inputs": [1.5]}, 400, "input: steps"),
        ("/v1/models/{}:predict", {"signature_name": "slow", "inputs": [1 << 70]}, 400, "out of the range"),
        ("/v1/models/{}:predict", {"signature_name": "slow", "inputs": [[1], [2, 3]]}, 400, "unexpected size"),
        ("/v1/models/{}:predict", {"signature_name": "slow", "inputs": [[1]]}, 400, '"steps" to have shape'),
        ("/v1/models/{}:predict", {"signature_name": "examples", "inputs": [{"b64": "!"}]}, 400, "base64"),
        ("/v1/models/{}:classify", {}, 501, "classify is not served"),
        ("/v1/models/{}/versions/9:predict", {"inputs": {}}, 404, "Servable not found for request: Specific("),
        ("/v1/models/nobody:predict", {"inputs": {}}, 404, "Servable not found for request: Latest(nobody)"),
        ("/v1/models/nobody", None, 404, "Could not find any versions of model nobody"),
        ("/v1/models/{}/versions/9", None, 404, "Could not find version 9 of model"),
        ("/v1/models/{}/versions/99999999999999999999", None, 400, "Failed to convert version"),
        ("/v1/models/{}:predict", None, 400, "Malformed request: GET"),
        ("/v2/models", None, 404, "Not Found"),
    ],
)
def test_rest_errors_are_json_with_tf_servings_status(
    server: Server, exported: Path, channel: grpc.Channel, path: str, body: Any, status: int, words: str
) -> None:
    name = "for_errors"
    reload(channel, config("ranker", server.base_path), config(name, exported))
    got, answer = server.rest(path.format(name), body)
    assert got == status
    assert answer.keys() == {"error"}
    assert words in answer["error"]


def test_metadata_describes_the_signatures_over_both_apis(model: Model, channel: grpc.Channel) -> None:
    from tensorflow_serving.apis import get_model_metadata_pb2, prediction_service_pb2_grpc

    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = model.name
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    response = stub.GetModelMetadata(request, timeout=20)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert {"serving_default", "query", "examples"} <= set(signatures.signature_def)
    assert set(signatures.signature_def["serving_default"].inputs) == set(inputs())
    status, rest = model.server.rest(f"/v1/models/{model.name}/metadata")
    assert status == 200
    assert rest["model_spec"] == {"name": model.name, "signature_name": "", "version": "1"}
    described = rest["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert described["inputs"]["category"]["dtype"] == "DT_INT64"
    assert described["outputs"]["ctr"]["tensor_shape"]["dim"] == [{"size": "-1", "name": ""}]
    with pytest.raises(grpc.RpcError) as refused:
        stub.GetModelMetadata(get_model_metadata_pb2.GetModelMetadataRequest(model_spec=request.model_spec), timeout=20)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def without(name: str) -> Tensors:
    return {n: a for n, a in inputs().items() if n != name}


@pytest.mark.parametrize(
    ("signature", "version", "tensors", "error", "words"),
    [
        ("serving_default", 1, without("brand"), ContractError, "Missing but required: {brand}"),
        ("serving_default", 1, inputs() | {"age": np.zeros(1, np.int64)}, ContractError, "Sent extra: {age}"),
        (
            *("serving_default", 1, inputs() | {"category": np.zeros(3, np.int32)}, ContractError),
            'input "category" to be int64 but int32 is provided',
        ),
        ("serving_default", 1, inputs() | {"amount": np.zeros(1)}, ContractError, 'input "amount" to be float32 but float64'),
        (
            "serving_default",
            1,
            inputs() | {"amount": np.zeros((1, 1), np.float32)},
            ContractError,
            'input "amount" to have shape',
        ),
        ("serving_default", 1, inputs() | {"category": np.zeros(2, np.int64)}, ContractError, "ncompatible shapes"),
        ("examples", 1, {"examples": strings("nonsense")}, ContractError, "Could not parse example"),
        ("nothing", 1, inputs(), ContractError, 'Serving signature key "nothing" not found.'),
        ("serving_default", 6, inputs(), Unavailable, "Servable not found for request: Specific(for_errors, 6)"),
    ],
)
def test_grpc_errors_reach_the_gateway_as_its_own(
    server: Server,
    exported: Path,
    channel: grpc.Channel,
    signature: str,
    version: int,
    tensors: Tensors,
    error: type[Exception],
    words: str,
) -> None:
    reload(channel, config("ranker", server.base_path), config("for_errors", exported, modelVersionPolicy={"all": {}}))
    with pytest.raises(error, match=re.escape(words)) as caught:
        Model(server, "for_errors", exported).predict(signature, version, tensors)
    assert "Traceback" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_no_answer_in_time_is_a_timeout_and_no_server_is_unavailable_at_once(model: Model) -> None:
    with pytest.raises(DependencyTimeout, match="within 50 ms"):
        model.predict("slow", 1, {"steps": np.array([20_000])}, timeout_s=0.05)

    async def nobody() -> None:
        client = ModelClient(f"127.0.0.1:{free_port()}")
        try:
            for _ in range(3):
                with pytest.raises(Unavailable):
                    await client.predict("serving_default", 1, inputs(), 20)
                with pytest.raises(Unavailable):
                    await client.available_versions(20)
        finally:
            await client.close()

    started = time.monotonic()
    asyncio.run(nobody())
    # Six calls with a deadline of 20 s each: had one of them waited for a server, this would be 20 s and more.
    assert time.monotonic() - started < 20


def test_reload_replaces_the_models(model: Model, channel: grpc.Channel, exported: Path) -> None:
    for version in (2, 3):
        publish(exported, model.path, version)
    model.wait_for(2, 3)
    reload(channel, config(model.name, model.path, modelVersionPolicy={"specific": {"versions": [1, 3]}}))
    assert model.available() == [1, 3]
    reload(channel, config(model.name, model.path, modelVersionPolicy={"all": {}}))
    assert model.available() == [1, 2, 3]
    # Another folder under the same name.
    reload(channel, config(model.name, exported, modelVersionPolicy={"latest": {}}))
    assert model.available() == [4]
    other = Model(model.server, "other", model.path)
    reload(channel, config("other", model.path))
    assert other.available() == [2, 3]
    assert model.available() == []


@pytest.mark.parametrize(
    ("configs", "code", "words"),
    [
        ([{"name": "x", "basePath": "relative"}], "INVALID_ARGUMENT", "to have an absolute path"),
        ([{"name": "", "basePath": "/x"}], "INVALID_ARGUMENT", "no name"),
        ([{"name": "x", "basePath": "/x"}] * 2, "INVALID_ARGUMENT", "multiple times"),
        ([{"name": "x", "basePath": "/nowhere"}], "UNAVAILABLE", "model x did not become available: no versions under /nowhere"),
    ],
)
def test_a_configuration_that_cannot_be_changes_nothing(
    model: Model, channel: grpc.Channel, configs: list[dict[str, Any]], code: str, words: str
) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        reload(channel, *configs)
    assert (refused.value.code().name, words in refused.value.details()) == (code, True), refused.value.details()
    assert model.available() == [1]


def test_calls_that_are_not_served_say_so(channel: grpc.Channel, model: Model) -> None:
    from tensorflow_serving.apis import classification_pb2, model_management_pb2, model_service_pb2_grpc
    from tensorflow_serving.apis import prediction_service_pb2_grpc as prediction

    with pytest.raises(grpc.RpcError) as refused:
        prediction.PredictionServiceStub(channel).Classify(classification_pb2.ClassificationRequest(), timeout=20)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    with pytest.raises(grpc.RpcError) as refused:
        model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest(
            model_management_pb2.ReloadConfigRequest(), timeout=20
        )
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_killed_and_started_again_it_serves_and_at_the_end_it_drains(exported: Path, tmp_path: Path) -> None:
    server = Server(tmp_path / "releases", tmp_path / "log")
    server.base_path.mkdir()
    for version in (1, 2, 3):
        publish(exported, server.base_path, version)
    model = Model(server, "ranker", server.base_path)
    server.start()
    model.wait_for(2, 3)

    async def over_a_crash() -> None:
        client = server.client()
        try:
            before = await client.predict("serving_default", 3, inputs(), 20)
            await asyncio.to_thread(server.end, signal.SIGKILL)
            with pytest.raises(Unavailable):
                await client.predict("serving_default", 3, inputs(), 20)
            await asyncio.to_thread(server.start)
            while await available(client) != [2, 3]:
                await asyncio.sleep(0.05)
            after = await client.predict("serving_default", 3, inputs(), 20)
            assert after["ctr"].tolist() == before["ctr"].tolist()
        finally:
            await client.close()

    async def available(client: ModelClient) -> list[int]:
        try:
            return await client.available_versions(20)
        except Unavailable:
            return []

    async def over_the_end() -> int:
        client = server.client()
        try:
            # Under way for a while when the signal comes; its answer must still arrive.
            call = asyncio.create_task(client.predict("slow", 3, {"steps": np.array([20_000])}, 60))
            await client.predict("query", 3, {n: inputs()[n] for n in REQUEST_FEATURES}, 20)
            await asyncio.sleep(0.1)
            ended = asyncio.create_task(asyncio.to_thread(server.end, signal.SIGTERM))
            assert (await call)["done"].tolist() == [1.0]
            return await ended
        finally:
            await client.close()

    asyncio.run(over_a_crash())
    second = subprocess.run(server.command, capture_output=True, text=True, timeout=120, check=False)
    assert second.returncode == 1
    assert f"model-server: cannot listen on 127.0.0.1:{server.rest_port}" in second.stderr
    assert "Traceback" not in second.stderr
    assert asyncio.run(over_the_end()) == 0
    assert "ended" in server.log.read_text()


def test_a_server_with_a_collector_goes_on_with_the_trace_of_its_caller(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace, above = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    with collecting() as collector:
        monkeypatch.setenv("OFFERRANK_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        shutil.copytree(exported / "1", tmp_path / "releases" / "1")
        server = Server(tmp_path / "releases", tmp_path / "log")
        server.start()
        try:
            Model(server, "ranker", server.base_path).wait_for(1)
            with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                request = messages.predict_request("ranker", 1, "serving_default", inputs())
                call = channel.unary_unary(messages.PREDICT, messages.PredictRequest.SerializeToString)
                call(request, metadata=(("traceparent", f"00-{trace}-{above}-01"),), timeout=20)
            (span,) = collector.until(len)
        finally:
            assert server.end(signal.SIGTERM) == 0
    assert (span.service, span.name, span.trace, span.above) == ("offerrank-model-server", "Predict", trace, above)
    assert span.said["offerrank.release"] == "1"
