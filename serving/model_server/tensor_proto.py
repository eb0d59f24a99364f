"""tensorflow.TensorProto <-> NumPy, with typed values in the answers as TF Serving writes them."""

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.framework import tensor_pb2

from serving.model_server.status import invalid

# Other dtypes go through tensor_content, which every client reads too.
_VALUES = {
    np.dtype(np.float32): "float_val",
    np.dtype(np.float64): "double_val",
    np.dtype(np.int32): "int_val",
    np.dtype(np.int64): "int64_val",
    np.dtype(np.bool_): "bool_val",
}


def from_proto(name: str, proto: Any) -> NDArray[Any]:
    """The tensor of one input.

    Raises:
      StatusError: INVALID_ARGUMENT, its values do not fill its shape.
    """
    try:
        array: NDArray[Any] = tf.make_ndarray(proto)
    except (TypeError, ValueError) as error:
        raise invalid(f"tensor parsing error: {name}: {error}") from error
    return array


def to_proto(array: NDArray[Any]) -> Any:
    """A tensor of an answer; a scalar comes out of a session as a NumPy scalar or as bytes."""
    array = np.asarray(array)
    if array.dtype not in _VALUES:
        return tf.make_tensor_proto(array)
    proto = tensor_pb2.TensorProto(dtype=tf.as_dtype(array.dtype).as_datatype_enum)
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, _VALUES[array.dtype]).extend(array.ravel().tolist())
    return proto
