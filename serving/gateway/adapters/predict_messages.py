"""The model server's messages without TensorFlow: the same fields on the wire under a package name of our own.

Importing `tensorflow_serving.apis` loads all of TensorFlow, seconds and hundreds of MB in every gateway worker. A protobuf
message on the wire is field numbers and values, no names, so the few fields that a Predict call needs are declared here, in a
descriptor pool of their own: both declarations can live in one process, and a contract test holds them to the same bytes.

Source: tensorflow_serving/apis/{model,predict,get_model_status}.proto, tensorflow/core/framework/{tensor,tensor_shape}.proto.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from numpy.typing import NDArray

from domain.errors import ContractError

PREDICT = "/tensorflow.serving.PredictionService/Predict"
GET_MODEL_STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
AVAILABLE = 30  # ModelVersionStatus.State

_PACKAGE = "offerrank.model_server"
_Field = descriptor_pb2.FieldDescriptorProto

# message -> field -> (number, type, repeated); a type in capitals is a message, one after "map " a map from string to it.
# An enum is declared as int32, which has the same encoding.
_MESSAGES: dict[str, dict[str, tuple[int, str, bool]]] = {
    "Int64Value": {"value": (1, "int64", False)},
    "ModelSpec": {"name": (1, "string", False), "version": (2, "Int64Value", False), "signature_name": (3, "string", False)},
    "Dim": {"size": (1, "int64", False), "name": (2, "string", False)},
    "TensorShapeProto": {"dim": (2, "Dim", True), "unknown_rank": (3, "bool", False)},
    "TensorProto": {
        "dtype": (1, "int32", False),
        "tensor_shape": (2, "TensorShapeProto", False),
        "tensor_content": (4, "bytes", False),
        "float_val": (5, "float", True),
        "double_val": (6, "double", True),
        "int_val": (7, "int32", True),
        "string_val": (8, "bytes", True),
        "int64_val": (10, "int64", True),
        "bool_val": (11, "bool", True),
        "uint32_val": (16, "uint32", True),
        "uint64_val": (17, "uint64", True),
    },
    "PredictRequest": {
        "model_spec": (1, "ModelSpec", False),
        "inputs": (2, "map TensorProto", True),
        "output_filter": (3, "string", True),
    },
    "PredictResponse": {"outputs": (1, "map TensorProto", True), "model_spec": (2, "ModelSpec", False)},
    "GetModelStatusRequest": {"model_spec": (1, "ModelSpec", False)},
    "StatusProto": {"error_code": (1, "int32", False), "error_message": (2, "string", False)},
    "ModelVersionStatus": {
        "version": (1, "int64", False),
        "state": (2, "int32", False),
        "status": (3, "StatusProto", False),
    },
    "GetModelStatusResponse": {"model_version_status": (1, "ModelVersionStatus", True)},
}


def _declare(message: Any, field: str, number: int, kind: str, repeated: bool) -> None:
    """Adds one field to a message's descriptor; a map is a repeated entry message, as protoc writes it."""
    added = message.field.add(name=field, number=number)
    added.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
    if kind.startswith("map "):
        entry = message.nested_type.add(name=field.title().replace("_", "") + "Entry")
        entry.options.map_entry = True
        _declare(entry, "key", 1, "string", False)
        _declare(entry, "value", 2, kind.removeprefix("map "), False)
        added.type = _Field.TYPE_MESSAGE
        added.type_name = f".{_PACKAGE}.{message.name}.{entry.name}"
    elif kind in _MESSAGES:
        added.type = _Field.TYPE_MESSAGE
        added.type_name = f".{_PACKAGE}.{kind}"
    else:
        added.type = getattr(_Field, f"TYPE_{kind.upper()}")


def _build() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="offerrank/model_server.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, repeated) in fields.items():
            _declare(message, field, number, kind, repeated)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {n: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{n}")) for n in _MESSAGES}


_classes = _build()
TensorProto = _classes["TensorProto"]
PredictRequest = _classes["PredictRequest"]
PredictResponse = _classes["PredictResponse"]
GetModelStatusRequest = _classes["GetModelStatusRequest"]
GetModelStatusResponse = _classes["GetModelStatusResponse"]

# NumPy dtype -> (DataType number, field of the typed values). Source: tensorflow/core/framework/types.proto.
_STRING = 7
_TYPES: dict[str, tuple[int, str]] = {
    "float32": (1, "float_val"),
    "float64": (2, "double_val"),
    "int32": (3, "int_val"),
    "uint8": (4, "int_val"),
    "int16": (5, "int_val"),
    "int8": (6, "int_val"),
    "int64": (9, "int64_val"),
    "bool": (10, "bool_val"),
    "uint16": (17, "int_val"),
    "uint32": (22, "uint32_val"),
    "uint64": (23, "uint64_val"),
}
_BY_NUMBER = {number: (np.dtype(name), np.dtype(name).newbyteorder("<"), field) for name, (number, field) in _TYPES.items()}
_BY_DTYPE = {dtype: (number, wire) for number, (dtype, wire, _) in _BY_NUMBER.items()}
_OBJECT = np.dtype(object)


def encode_tensor(array: NDArray[Any], proto: Any) -> None:
    """Writes an array into an empty TensorProto: numbers as little-endian bytes, strings one by one.

    Raises:
      ContractError: a dtype that no signature of ours takes, or an object array that holds anything but bytes.
    """
    shape = proto.tensor_shape
    shape.SetInParent()
    for size in array.shape:
        shape.dim.add(size=size)
    if array.dtype == _OBJECT:
        proto.dtype = _STRING
        try:
            proto.string_val.extend(array.ravel().tolist())
        except (TypeError, ValueError) as error:
            raise ContractError(f"a string tensor holds bytes only: {error}") from error
        return
    known = _BY_DTYPE.get(array.dtype.newbyteorder("=") if array.dtype.byteorder == ">" else array.dtype)
    if known is None:
        raise ContractError(f"no tensor type for arrays of {array.dtype}")
    proto.dtype, wire = known
    proto.tensor_content = array.astype(wire, copy=False).tobytes()


def decode_tensor(proto: Any) -> NDArray[Any]:
    """TensorProto -> array, from `tensor_content` or from the typed values, whichever the server filled.

    Typed values may be fewer than the shape asks for: the last one stands for the rest, none at all for zeros.

    Raises:
      ContractError: an unknown dtype, or values that do not fill the shape.
    """
    shape = tuple(d.size for d in proto.tensor_shape.dim)
    count = math.prod(shape)
    if proto.dtype == _STRING:
        values: list[bytes] = list(proto.string_val)
        strings = np.empty(count, dtype=object)
        strings[:] = _fill(values, count, b"")
        return strings.reshape(shape)
    known = _BY_NUMBER.get(proto.dtype)
    if known is None:
        raise ContractError(f"the model server sent a tensor of type {proto.dtype}, which no output of ours has")
    dtype, wire, field = known
    if proto.tensor_content:
        if len(proto.tensor_content) != count * dtype.itemsize:
            raise ContractError(f"tensor_content has {len(proto.tensor_content)} bytes, shape {shape} of {dtype} needs another")
        return np.frombuffer(proto.tensor_content, dtype=wire).astype(dtype).reshape(shape)
    return np.array(_fill(list(getattr(proto, field)), count, 0), dtype=dtype).reshape(shape)


def _fill(values: list[Any], count: int, zero: object) -> list[Any]:
    if len(values) > count:
        raise ContractError(f"the model server sent {len(values)} values for a tensor of {count}")
    return values + [values[-1] if values else zero] * (count - len(values))


def predict_request(model: str, version: int | None, signature: str, inputs: Mapping[str, NDArray[Any]]) -> Any:
    """A Predict call; without a version the server takes its newest.

    Raises:
      ContractError: an input that no tensor can hold, by name.
    """
    request = PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    for name, array in inputs.items():
        try:
            encode_tensor(array, request.inputs[name])
        except ContractError as error:
            raise ContractError(f"input {name}: {error}") from error
    return request
