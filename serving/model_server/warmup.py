"""Replays recorded requests on a version before it takes traffic.

The first call of every signature and shape costs tens of milliseconds: TensorFlow optimises the graph then. The file is the
one TF Serving replays: a TFRecord of PredictionLog. A version whose own warm-up requests fail is one whose signatures are not
what the release says, so it must not answer.

Source: https://www.tensorflow.org/tfx/serving/saved_model_warmup
"""

import logging
import time
from pathlib import Path

import grpc
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from serving.model_server.saved_model import SavedModel
from serving.model_server.status import StatusError, code_of
from serving.model_server.tensor_proto import from_proto

log = logging.getLogger(__name__)

REQUESTS = Path("assets.extra") / "tf_serving_warmup_requests"
_MOST = 1000


def warm_up(model: SavedModel, path: Path, name: str, version: int) -> None:
    """Runs every recorded request; a version without the file starts cold.

    Raises:
      StatusError: a request failed, the file cannot be read, or has more than 1000 requests.
    """
    requests = path / REQUESTS
    if not requests.exists():
        log.warning("%s %d: no %s, its first requests will be slow", name, version, REQUESTS)
        return
    started = time.monotonic()
    count = 0
    try:
        for record in tf.data.TFRecordDataset(str(requests)).as_numpy_iterator():
            count += 1
            if count > _MOST:
                raise StatusError(
                    grpc.StatusCode.INVALID_ARGUMENT, f"Number of warmup records exceeds the maximum ({_MOST}) at {requests}"
                )
            _replay(model, prediction_log_pb2.PredictionLog.FromString(record))
    except tf.errors.OpError as error:
        raise StatusError(code_of(error.error_code), f"warm-up: {error.message}") from error
    except DecodeError as error:
        raise StatusError(grpc.StatusCode.INVALID_ARGUMENT, f"warm-up: {requests} holds no PredictionLog: {error}") from error
    except StatusError as error:
        raise StatusError(error.code, f"warm-up request {count}: {error.message}") from error
    log.info("%s %d: warmed up with %d requests in %.1f s", name, version, count, time.monotonic() - started)


def _replay(model: SavedModel, recorded: prediction_log_pb2.PredictionLog) -> None:
    if not recorded.HasField("predict_log"):
        raise StatusError(grpc.StatusCode.UNIMPLEMENTED, f"only Predict is served, not {recorded.WhichOneof('log_type')}")
    request = recorded.predict_log.request
    inputs = {name: from_proto(name, proto) for name, proto in request.inputs.items()}
    model.predict(request.model_spec.signature_name, inputs, request.output_filter)
