"""HTTP in and out: bodies read within limits, errors in one shape, answers written without checking them again."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import orjson
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import request_response

from domain.errors import InvalidRequest
from domain.refusals import first_refusal

MAX_BODY = 256 * 1024

Model = TypeVar("Model", bound=BaseModel)


class PlainRoute(APIRoute):
    """A route in the document whose endpoint reads the request and makes the response: nothing is left for FastAPI to solve."""

    def __init__(self, path: str, endpoint: Callable[..., Awaitable[Response]], **options: Any) -> None:
        super().__init__(path, endpoint, **options)

        async def respond(request: Request) -> Response:
            return await endpoint(*request.path_params.values(), request)

        self.app = request_response(respond)


class HttpError(Exception):
    """An answer other than 2xx: `{"error": {"field", "message", "got"}}`."""

    def __init__(self, status: int, field: str, message: str, got: object = None, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.field = field
        self.message = message
        self.got = got
        self.headers = headers

    @classmethod
    def of(cls, error: InvalidRequest, status: int = 422) -> "HttpError":
        """An invalid request as an answer."""
        return cls(status, error.field, f"expected {error.expected}", error.got)

    def body(self) -> dict[str, Any]:
        """The error alone, as it also appears within the answer to a batch."""
        error: dict[str, Any] = {"field": self.field, "message": self.message}
        if self.got is not None:
            error["got"] = _shown(self.got)
        return error

    def response(self) -> Response:
        """The answer."""
        return answer({"error": self.body()}, self.status, self.headers)


def answer(content: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer; NaN becomes null."""
    return Response(orjson.dumps(content), status, headers, "application/json")


async def read_json(request: Request) -> bytes:
    """The body of a JSON request. Beacons send theirs as text, which spares them a preflight.

    Raises:
      HttpError: 415 for another content type, 413 beyond 256 KiB, 400 if the client went away.
    """
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() not in ("application/json", "text/plain"):
        raise HttpError(415, "content-type", "expected application/json, or from a beacon text/plain", content_type)
    return await read_body(request, MAX_BODY)


async def read_body(request: Request, most: int) -> bytes:
    """The bytes of a request's body.

    Raises:
      HttpError: 413 beyond `most` bytes, 400 if the client went away.
    """
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length[:12]) > most:
        raise HttpError(413, "body", f"expected at most {most} bytes", f"{length[:12]} bytes")
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                raise HttpError(413, "body", f"expected at most {most} bytes", "more")
    except ClientDisconnect:
        raise HttpError(400, "body", "the client went away before the body was complete") from None
    return bytes(body)


def parse_json(body: bytes) -> Any:
    """JSON of any shape; raises HttpError 400 if it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as e:
        raise HttpError(400, "body", f"expected JSON: {e}") from None


def validate(model: type[Model], body: bytes) -> Model:
    """A body as `model`.

    Raises:
      HttpError: 400 if it is not JSON, 422 if it is not what was expected; names the first wrong field.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as e:
        first = e.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            raise HttpError(400, "body", f"expected JSON: {first['ctx']['error']}") from None
        raise invalid(e, from_json(body)) from None


def invalid(error: ValidationError, given: object) -> HttpError:
    """The first thing wrong with what was given, as an answer."""
    wrong = first_refusal(error, given, table="an object")
    return HttpError(422, field_path(wrong.location), wrong.sentence, wrong.got if wrong.has_got else None)


def field_path(location: tuple[int | str, ...]) -> str:
    """`("placements", 0, "count")` -> `placements[0].count`."""
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
    return path.removeprefix(".")[:200] or "body"


def _shown(value: object) -> object:
    """Short and safe to print: a caller's value is echoed, but never at length."""
    if isinstance(value, bool | int) and abs(value) < 2**53:
        return value
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 120 else text[:117] + "..."
