"""TF Serving's REST API over `Core`, an ASGI application.

    POST /v1/models/NAME[/versions/V|/labels/L]:predict
    GET  /v1/models/NAME[/versions/V|/labels/L]             state of the versions
    GET  /v1/models/NAME[/versions/V|/labels/L]/metadata    signatures

Source: https://www.tensorflow.org/tfx/serving/api_rest
"""

import inspect
import json
import logging
import re
from typing import Any
from urllib.parse import unquote

import grpc
from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tensorflow_serving.apis import get_model_metadata_pb2

from serving.model_server.core import Core, Spec
from serving.model_server.grpc_api import model_metadata, model_status
from serving.model_server.rest_json import is_rows, parse, read_inputs, write_outputs
from serving.model_server.saved_model import DEFAULT_SIGNATURE
from serving.model_server.status import HTTP_STATUS, StatusError, invalid

log = logging.getLogger(__name__)

_MODEL = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_CALL = re.compile(_MODEL + r":(?P<method>classify|regress|predict)", re.IGNORECASE)
_READ = re.compile(_MODEL + r"(?P<metadata>/metadata)?", re.IGNORECASE)

# protobuf 5 renamed the option that prints fields at their default, as TF Serving does.
_PRINT_ALL = next(
    name
    for name in ("always_print_fields_with_no_presence", "including_default_value_fields")
    if name in inspect.signature(json_format.MessageToDict).parameters
)


def _to_json(message: Any) -> dict[str, Any]:
    printed: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True, **{_PRINT_ALL: True})
    return printed


def _spec(match: re.Match[str]) -> Spec:
    version = match["version"]
    if version is not None and int(version) >= 1 << 63:
        raise invalid(f"Failed to convert version: {version} to numeric.")
    label = unquote(match["label"]) if match["label"] is not None else None
    return Spec(unquote(match["name"]), None if version is None else int(version), label)


def _predict(core: Core, spec: Spec, body: bytes) -> dict[str, Any]:
    document = parse(body)
    signature_name = document.get("signature_name") or DEFAULT_SIGNATURE
    with core.use(spec) as (_, model):
        if signature_name not in model.signatures:
            raise invalid(f'Serving signature name: "{signature_name}" not found in signature def')
        inputs = read_inputs(document, model.signature(signature_name))
        outputs = model.predict(signature_name, inputs)
    return write_outputs(outputs, rows=is_rows(document))


def _metadata(core: Core, spec: Spec) -> dict[str, Any]:
    response = model_metadata(core, spec)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    return {"model_spec": _to_json(response.model_spec), "metadata": {"signature_def": _to_json(signatures)}}


def answer(core: Core, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
    """HTTP status and JSON of one request."""
    call, read = _CALL.fullmatch(path), _READ.fullmatch(path)
    try:
        if method == "POST" and call:
            if call["method"].lower() != "predict":
                raise StatusError(grpc.StatusCode.UNIMPLEMENTED, f"{call['method']} is not served: send tensors to :predict")
            return 200, _predict(core, _spec(call), body)
        if method == "GET" and read:
            return 200, _metadata(core, _spec(read)) if read["metadata"] else _to_json(model_status(core, _spec(read)))
        if not path.lower().startswith("/v1/"):
            return 404, {"error": f"Not Found: {method} {path}"}
        raise invalid(f"Malformed request: {method} {path}")
    except StatusError as error:
        return HTTP_STATUS.get(error.code, 500), {"error": error.message}
    except Exception as error:
        log.exception("%s %s", method, path)
        return 500, {"error": f"{type(error).__name__}: {error}"}


def rest_app(core: Core) -> Starlette:
    """The ASGI application; the work is done in threads, as TensorFlow blocks."""

    async def endpoint(request: Request) -> Response:
        body = await request.body()
        path = request.scope.get("raw_path", request.url.path.encode()).decode("latin-1")
        status, document = await run_in_threadpool(answer, core, request.method, path, body)
        return Response(json.dumps(document, indent=1), status, media_type="application/json")

    return Starlette(routes=[Route("/{path:path}", endpoint, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])])
