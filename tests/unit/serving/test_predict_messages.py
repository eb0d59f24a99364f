"""Predict messages without TensorFlow: what goes in comes out, whichever encoding the server chose."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from domain.errors import ContractError
from serving.gateway.adapters.predict_messages import (
    PredictResponse,
    TensorProto,
    decode_tensor,
    encode_tensor,
    predict_request,
)

NUMBERS = ["float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool"]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


def roundtrip(array: NDArray[Any]) -> NDArray[Any]:
    proto = TensorProto()
    encode_tensor(array, proto)
    return decode_tensor(TensorProto.FromString(proto.SerializeToString()))


def strings(*values: bytes) -> NDArray[np.object_]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


@given(st.sampled_from(NUMBERS).flatmap(lambda name: hnp.arrays(name, SHAPES)))
def test_numbers_come_back_bit_for_bit(array: NDArray[Any]) -> None:
    back = roundtrip(array)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


@given(st.lists(st.binary(max_size=8), max_size=6))
def test_bytes_come_back_as_they_were(values: list[bytes]) -> None:
    assert roundtrip(strings(*values)).tolist() == values


def test_a_big_endian_or_strided_array_is_sent_in_order_as_little_endian() -> None:
    assert roundtrip(np.arange(6, dtype=">i8")[::2]).tolist() == [0, 2, 4]


@pytest.mark.parametrize(
    ("number", "field", "values"),
    [
        (1, "float_val", [0.5, -2.0]),
        (2, "double_val", [0.1, 1e300]),
        (3, "int_val", [1, -1]),
        (4, "int_val", [0, 255]),
        (9, "int64_val", [2**62, -5]),
        (10, "bool_val", [True, False]),
        (22, "uint32_val", [2**32 - 1, 0]),
        (23, "uint64_val", [2**64 - 1, 0]),
    ],
)
def test_typed_values_are_read_too(number: int, field: str, values: list[Any]) -> None:
    proto = TensorProto(dtype=number, **{field: values})
    proto.tensor_shape.dim.add().size = 2
    assert decode_tensor(proto).tolist() == values


def test_the_last_typed_value_stands_for_the_rest_and_none_for_zeros() -> None:
    proto = TensorProto(dtype=1, float_val=[3.0, 4.0])
    proto.tensor_shape.dim.add().size = 4
    assert decode_tensor(proto).tolist() == [3.0, 4.0, 4.0, 4.0]
    del proto.float_val[:]
    assert decode_tensor(proto).tolist() == [0.0, 0.0, 0.0, 0.0]


def test_a_decoded_tensor_may_be_written_to() -> None:
    back = roundtrip(np.zeros(3, dtype=np.float32))
    back[0] = 1.0
    assert back.tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("proto", "words"),
    [
        (TensorProto(dtype=20), "type 20"),
        (TensorProto(dtype=1, tensor_content=b"\0" * 5), "5 bytes"),
        (TensorProto(dtype=1, float_val=[1.0, 2.0]), "2 values for a tensor of 1"),
        (TensorProto(dtype=7, string_val=[b"a", b"b"]), "2 values for a tensor of 1"),
    ],
)
def test_a_tensor_that_does_not_add_up_is_refused(proto: Any, words: str) -> None:
    with pytest.raises(ContractError, match=words):
        decode_tensor(proto)


@pytest.mark.parametrize(
    "array", [np.array(["a", "b"]), np.array([1 + 2j]), np.array([b"a", 3], dtype=object), np.array(["a"], dtype=object)]
)
def test_what_no_tensor_can_hold_is_refused_by_the_name_of_the_input(array: NDArray[Any]) -> None:
    with pytest.raises(ContractError, match="input brand"):
        predict_request("ranker", 1, "serving_default", {"brand": array})


def test_a_request_without_a_version_asks_for_the_newest() -> None:
    assert not predict_request("ranker", None, "", {}).model_spec.HasField("version")
    assert predict_request("ranker", 7, "", {}).model_spec.version.value == 7


def test_a_field_this_client_does_not_know_is_skipped() -> None:
    # Field 15 of a PredictResponse does not exist: a later server may add one. Tag (15 << 3) | 0, value 1.
    assert dict(PredictResponse.FromString(b"\x78\x01").outputs) == {}


def test_importing_the_client_loads_no_tensorflow() -> None:
    code = (
        "import sys, serving.gateway.adapters.model_client;"
        "print([m for m in sys.modules if m.split('.')[0] in ('tensorflow', 'tensorflow_serving', 'tf_keras')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
