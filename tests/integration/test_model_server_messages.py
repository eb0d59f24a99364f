"""The gateway's messages are TensorFlow Serving's, byte for byte, in both directions."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.gateway.adapters import predict_messages as ours

# Google's client libraries warn about the Python version when TensorFlow is imported.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

STRINGS = np.array([b"", b"kiwi", "straße".encode(), b"\x00\xff"], dtype=object)
ARRAYS: list[NDArray[Any]] = [
    STRINGS,
    STRINGS.reshape(2, 2),
    np.array([0, -1, 2**62], dtype=np.int64),
    np.array([7], dtype=np.int32),
    np.array([[0.1, -0.0], [np.inf, np.nan]], dtype=np.float32),
    np.array(3.5, dtype=np.float64),
    np.array([True, False]),
    np.array([0, 255], dtype=np.uint8),
    np.array([], dtype=np.float32),
    np.zeros((0, 3), dtype=np.int64),
    np.array([], dtype=object),
]
each_array = pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{list(a.shape)}")


@pytest.fixture(scope="module")
def tf() -> ModuleType:
    import tensorflow

    return tensorflow


@pytest.fixture(scope="module")
def apis(tf: ModuleType) -> ModuleType:
    from tensorflow_serving import apis
    from tensorflow_serving.apis import get_model_status_pb2, predict_pb2  # noqa: F401

    return apis


def same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return (
        a.dtype == b.dtype
        and a.shape == b.shape
        and (a.tolist() == b.tolist() if a.dtype == object else a.tobytes() == b.tobytes())
    )


def typed(tf: ModuleType, array: NDArray[Any]) -> Any:
    """The array as TF Serving answers it: values one by one in the field of their type."""
    proto = tf.make_tensor_proto(array)
    values = proto.tensor_content and tf.make_ndarray(proto).ravel().tolist()
    proto.ClearField("tensor_content")
    fields = {"float32": "float_val", "float64": "double_val", "int64": "int64_val", "bool": "bool_val"}
    if values:
        getattr(proto, fields.get(array.dtype.name, "int_val")).extend(values)
    return proto


@each_array
def test_a_request_has_the_bytes_of_the_real_one(tf: ModuleType, apis: ModuleType, array: NDArray[Any]) -> None:
    real = apis.predict_pb2.PredictRequest()
    real.model_spec.name = "ranker"
    real.model_spec.version.value = 1763762400
    real.model_spec.signature_name = "serving_default"
    for name in ("zeta", "alpha"):
        if array.dtype == object:
            real.inputs[name].CopyFrom(tf.make_tensor_proto(array, shape=array.shape, dtype=tf.string))
        else:
            real.inputs[name].dtype = tf.as_dtype(array.dtype).as_datatype_enum
            real.inputs[name].tensor_shape.CopyFrom(tf.TensorShape(array.shape).as_proto())
            real.inputs[name].tensor_content = array.tobytes()
    request = ours.predict_request("ranker", 1763762400, "serving_default", {"zeta": array, "alpha": array})
    assert request.SerializeToString(deterministic=True) == real.SerializeToString(deterministic=True)


@each_array
def test_the_real_server_reads_what_we_wrote(tf: ModuleType, apis: ModuleType, array: NDArray[Any]) -> None:
    sent = ours.predict_request("ranker", None, "query", {"x": array}).SerializeToString()
    read = apis.predict_pb2.PredictRequest.FromString(sent)
    assert read.model_spec.WhichOneof("version_choice") is None
    assert read.model_spec.signature_name == "query"
    assert same(tf.make_ndarray(read.inputs["x"]), array)


@pytest.mark.parametrize("encoding", [lambda tf, a: tf.make_tensor_proto(a), typed], ids=["tensor_content", "typed"])
@each_array
def test_we_read_what_the_real_server_writes(
    tf: ModuleType, apis: ModuleType, array: NDArray[Any], encoding: Callable[[ModuleType, NDArray[Any]], Any]
) -> None:
    if array.size == 0 and array.dtype == object:
        proto = tf.make_tensor_proto([], dtype=tf.string, shape=array.shape)
    else:
        proto = encoding(tf, array)
    response = apis.predict_pb2.PredictResponse(outputs={"ctr": proto})
    response.model_spec.version.value = 3
    read = ours.PredictResponse.FromString(response.SerializeToString())
    assert read.model_spec.version.value == 3
    assert same(ours.decode_tensor(read.outputs["ctr"]), array)
    # And back: nothing was dropped on the way.
    assert read.SerializeToString(deterministic=True) == response.SerializeToString(deterministic=True)


def test_status_messages_are_the_real_ones(apis: ModuleType) -> None:
    status_pb2 = apis.get_model_status_pb2
    request = ours.GetModelStatusRequest()
    request.model_spec.name = "ranker"
    assert status_pb2.GetModelStatusRequest.FromString(request.SerializeToString()).model_spec.name == "ranker"

    response = status_pb2.GetModelStatusResponse()
    available = response.model_version_status.add(version=5, state=status_pb2.ModelVersionStatus.AVAILABLE)
    available.status.SetInParent()
    broken = response.model_version_status.add(version=6, state=status_pb2.ModelVersionStatus.END)
    broken.status.error_code, broken.status.error_message = 3, "no"
    read = ours.GetModelStatusResponse.FromString(response.SerializeToString())
    assert [(s.version, s.state == ours.AVAILABLE) for s in read.model_version_status] == [(5, True), (6, False)]
    assert read.model_version_status[1].status.error_message == "no"
    assert read.SerializeToString() == response.SerializeToString()


def test_every_field_declared_is_the_real_one(tf: ModuleType, apis: ModuleType) -> None:
    """Number, repetition and wire type of each field, against the real descriptors."""
    pairs = [
        (ours.PredictRequest, apis.predict_pb2.PredictRequest),
        (ours.PredictResponse, apis.predict_pb2.PredictResponse),
        (ours.GetModelStatusResponse, apis.get_model_status_pb2.GetModelStatusResponse),
    ]
    compared: set[str] = set()

    def compare(mine: Any, real: Any) -> None:
        if mine.name in compared:
            return
        compared.add(mine.name)
        for field in mine.fields:
            twin = real.fields_by_name[field.name]
            # An enum travels as an int32.
            kind = field.TYPE_INT32 if twin.type == twin.TYPE_ENUM else twin.type
            assert (field.number, field.type) == (twin.number, kind), f"{mine.name}.{field.name}"
            if field.message_type is not None:
                compare(field.message_type, twin.message_type)

    for mine, real in pairs:
        compare(mine.DESCRIPTOR, real.DESCRIPTOR)
    assert {"TensorProto", "ModelSpec", "ModelVersionStatus", "StatusProto", "Dim"} <= compared
