"""Predict's JSON: rows (`instances` -> `predictions`) or columns (`inputs` -> `outputs`).

Bytes are {"b64": "..."}; outputs named *_bytes come back so too. NaN and Infinity are numbers, as in TF Serving.

Source: https://www.tensorflow.org/tfx/serving/api_rest
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.model_server.saved_model import Signature
from serving.model_server.status import StatusError, invalid

Json = Any

_DEEPEST = 32  # dimensions of a NumPy 1 array


def parse(body: bytes) -> dict[str, Json]:
    """The request's JSON object.

    Raises:
      StatusError: INVALID_ARGUMENT, not JSON, not an object, or its `signature_name` is no string.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise invalid("JSON Value: Is not object")
    if not isinstance(document.get("signature_name", ""), str):
        raise invalid("JSON Value: not formatted correctly. 'signature_name' key must be a string value.")
    return document


def is_rows(document: dict[str, Json]) -> bool:
    """Whether the request is by row; by column otherwise.

    Raises:
      StatusError: INVALID_ARGUMENT, it is both or neither.
    """
    if "instances" in document and "inputs" in document:
        raise invalid("Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist")
    if "instances" not in document and "inputs" not in document:
        raise invalid("Missing 'inputs' or 'instances' key")
    return "instances" in document


def read_inputs(document: dict[str, Json], signature: Signature) -> dict[str, NDArray[Any]]:
    """Tensors of a request, in the dtypes of the signature.

    Raises:
      StatusError: INVALID_ARGUMENT, which names the input.
    """
    columns = _columns(document["instances"], signature) if is_rows(document) else _named(document["inputs"], signature)
    tensors = {}
    for name, tensor in signature.inputs.items():
        if name not in columns:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        try:
            tensors[name] = _tensor(columns[name], np.dtype(tensor.dtype.as_numpy_dtype))
        except StatusError as error:
            raise invalid(f"Failed to process input: {name}. Error: {error.message}") from error
    return tensors


def _named(values: Json, signature: Signature) -> Mapping[str, Json]:
    if isinstance(values, dict) and not _is_base64(values):
        return values
    if len(signature.inputs) > 1:
        raise invalid(
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map"
        )
    return {next(iter(signature.inputs)): values}


def _columns(rows: Json, signature: Signature) -> Mapping[str, Json]:
    """Rows of objects, or of plain values where there is one input, turned into columns."""
    if not isinstance(rows, list):
        raise invalid("JSON Value: Expecting 'instances' to be an list/array")
    if not rows:
        raise invalid("JSON Value: No values in 'instances' array")
    if not isinstance(rows[0], dict) or _is_base64(rows[0]):
        if len(signature.inputs) > 1:
            raise invalid(
                "instances is a plain list, but expecting list of objects as multiple input tensors required "
                "as per tensorinfo_map"
            )
        return {next(iter(signature.inputs)): rows}
    for i, row in enumerate(rows):
        if not isinstance(row, dict):
            raise invalid(f"Expecting object but got list at item {i} of input list")
        if row.keys() != signature.inputs.keys():
            keys = ",".join(sorted(signature.inputs))
            raise invalid(f"Failed to process element: {i} of 'instances' list. JSON object: keys must be equal to: {keys}")
    return {name: [row[name] for row in rows] for name in signature.inputs}


def _is_base64(value: Json) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def _tensor(value: Json, dtype: np.dtype[Any]) -> NDArray[Any]:
    shape: list[int] = []
    inner = value
    while isinstance(inner, list):
        shape.append(len(inner))
        inner = inner[0] if inner else None
        if len(shape) > _DEEPEST:
            raise invalid(f"lists nested deeper than {_DEEPEST}")
    leaves: list[Any] = []
    _collect(value, tuple(shape), 0, dtype, leaves)
    out = np.empty(len(leaves), dtype)
    try:
        out[:] = leaves
    except OverflowError as error:
        raise invalid(f"JSON Value: out of the range of {dtype.name}") from error
    return out.reshape(shape)


def _collect(value: Json, shape: tuple[int, ...], level: int, dtype: np.dtype[Any], leaves: list[Any]) -> None:
    if level == len(shape):
        leaves.append(_leaf(value, dtype))
        return
    if not isinstance(value, list):
        raise invalid(f"JSON Value: {_shown(value)} found at incorrect level: {level} in the JSON DOM. Expected at: {len(shape)}")
    if len(value) != shape[level]:
        raise invalid(f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}")
    for item in value:
        _collect(item, shape, level + 1, dtype, leaves)


def _leaf(value: Json, dtype: np.dtype[Any]) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if dtype.kind == "O" and isinstance(value, str):
        return value.encode()
    if dtype.kind == "O" and _is_base64(value):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise invalid("Unable to base64 decode") from error
    if dtype.kind == "b" and isinstance(value, bool):
        return value
    if dtype.kind in "iu" and number and isinstance(value, int):
        return value
    if dtype.kind == "f" and number:
        return value
    raise invalid(f"JSON Value: {_shown(value)} is not of expected type: {'string' if dtype.kind == 'O' else dtype.name}")


def _shown(value: Json) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def write_outputs(outputs: Mapping[str, NDArray[Any]], rows: bool) -> dict[str, Json]:
    """The answer, in the form of the request; a single output goes without its name.

    Raises:
      StatusError: INVALID_ARGUMENT, rows are asked of outputs that do not have the same number of them.
    """
    values = {name: _values(np.asarray(array), name.endswith("_bytes")) for name, array in outputs.items()}
    if not rows:
        return {"outputs": values if len(values) > 1 else next(iter(values.values()))}
    counts = {name: len(v) if isinstance(v, list) else -1 for name, v in values.items()}
    if min(counts.values()) < 0 or len(set(counts.values())) > 1:
        raise invalid(f"outputs have no common batch size, ask by column: {counts}")
    if len(values) == 1:
        return {"predictions": next(iter(values.values()))}
    return {"predictions": [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]}


def _values(array: NDArray[Any], as_base64: bool) -> Json:
    if array.dtype.kind == "O":
        flat = [_text(v, as_base64) for v in array.ravel()]
    elif array.dtype.kind == "f" and array.dtype.itemsize < 8:
        # The shortest decimal that reads back as this float32: 0.2, not 0.20000000298023224.
        flat = [float(str(v)) for v in array.ravel()]
    else:
        flat = array.ravel().tolist()
    nested = np.empty(len(flat), dtype=object)
    nested[:] = flat
    return nested.reshape(array.shape).tolist()


def _text(value: bytes, as_base64: bool) -> Json:
    if as_base64:
        return {"b64": base64.b64encode(value).decode()}
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}
