"""The OpenAPI document. Routes read and write bodies themselves; here is what they promise."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from serving.gateway.schema import DecisionAnswer, ErrorAnswer, EventsAnswer, EventsBody, LoggedExplanation

REF = "#/components/schemas/{model}"
VERSION = "1"


def _json(model: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": REF.format(model=model)}}}


def _says(text: str, content: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"description": text} | ({"content": content} if content else {})


ERROR = _json("ErrorAnswer")
EITHER = {"application/json": {"schema": {"anyOf": [{"$ref": REF.format(model=m)} for m in ("EventsAnswer", "ErrorAnswer")]}}}
KEYS = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "x-offerrank-key"},
    "url": {"type": "apiKey", "in": "query", "name": "key", "description": "A publisher's only; for beacons."},
}
NO_KEY = {401: _says("No key, or one that is unknown or has ended.", ERROR)}
WHO = NO_KEY | {
    403: _says("The key may not be sent from this origin, or may not ask for this.", ERROR),
    429: _says("Too often; again after `Retry-After` seconds.", ERROR),
}
BAD_BODY = {
    400: _says("The body is not JSON.", ERROR),
    413: _says("The body is larger than 256 KiB.", ERROR),
    415: _says("The content type is neither application/json nor text/plain.", ERROR),
    422: _says("A field is wrong; the error names it.", ERROR),
}
HTML = {"text/html": {"schema": {"type": "string"}}}

ROUTES: dict[str, dict[str, Any]] = {
    "decisions": {
        "summary": "Which offers to show, in which order, at what price",
        "body": "DecisionRequest",
        "security": [{name: []} for name in KEYS],
        "responses": {
            200: _says("The page; a placement without offers says why.", _json("DecisionAnswer")),
            **WHO,
            409: _says("The id was used for another request.", ERROR),
            **BAD_BODY,
            503: _says(
                "Too much to do, or the first request with this id is still being answered: repeat after `Retry-After`.", ERROR
            ),
        },
    },
    "explain": {
        "summary": "Every candidate of a past decision: how far it came, why no further, and which bid would have won",
        "security": [{"bearer": []}, {"header": []}],
        "responses": {
            200: _says("The decision, made once more from the log.", _json("LoggedExplanation")),
            403: WHO[403],
            401: WHO[401],
            404: _says("No such decision, or no operator asks.", ERROR),
            410: _says(
                "The release, market file or catalogue that it was made with is gone, or a gateway of before made it.", ERROR
            ),
            503: _says("Another one is being explained; repeat after `Retry-After` seconds.", ERROR),
        },
    },
    "events": {
        "summary": "What happened to shown offers, up to 100 events",
        "body": "EventsBody",
        "security": [{name: []} for name in KEYS],
        "responses": {
            200: _says("At least one event was accepted.", _json("EventsAnswer")),
            404: _says("No event was accepted; the first token is unknown.", _json("EventsAnswer")),
            410: _says("No event was accepted; the first token has expired.", _json("EventsAnswer")),
            **WHO,
            403: _says(
                "The key may not be sent from this origin, or no event was accepted; the first needs another key.", EITHER
            ),
            **BAD_BODY,
            422: _says("No event was accepted.", EITHER),
            503: _says("Redis is away, or there is too much to do; repeat the request after `Retry-After` seconds.", ERROR),
        },
    },
    "impression": {
        "summary": "The offer was seen",
        "responses": {
            200: _says("A transparent pixel.", {"image/gif": {"schema": {"type": "string", "format": "binary"}}}),
            404: _says("No such token.", ERROR),
            410: _says("The token has expired.", ERROR),
        },
    },
    "click": {
        "summary": "The offer was clicked; leads on to its landing page",
        "responses": {
            302: _says("To the landing page."),
            404: _says("No such token.", HTML),
            410: _says("The offer has ended.", HTML),
        },
    },
    "sdk": {
        "summary": "The web SDK",
        "responses": {
            200: _says("The script.", {"text/javascript": {"schema": {"type": "string"}}}),
            304: _says("It has not changed."),
        },
    },
    "healthz": {"summary": "The process runs", "responses": {200: _says("It does.", {"application/json": {}})}},
    "readyz": {
        "summary": "Requests can be served",
        "responses": {
            200: _says("Market loaded, Redis answers; the model server is optional.", {"application/json": {}}),
            503: _says("Redis does not answer: only offers without a budget are sold.", {"application/json": {}}),
        },
    },
    "metrics": {
        "summary": "Prometheus metrics, for operators: with their key, or on their port",
        "security": [{}, {"bearer": []}, {"header": []}],
        "responses": {
            200: _says("Text.", {"text/plain": {"schema": {"type": "string"}}}),
            **NO_KEY,
            403: _says("The key is not an operator's.", ERROR),
            404: _says("Not here: there is no key.", ERROR),
        },
    },
}


def describe(route: str) -> dict[str, Any]:
    """Arguments of a FastAPI route decorator."""
    spec = ROUTES[route]
    extra: dict[str, Any] = {}
    if "body" in spec:
        extra["requestBody"] = {"required": True, "content": _json(spec["body"])}
    if "security" in spec:
        extra["security"] = spec["security"]
    return {
        "operation_id": route,
        "summary": spec["summary"],
        "responses": spec["responses"],
        "openapi_extra": extra,
        "response_model": None,
        # Nothing of FastAPI's own: neither a default 200 nor its 422.
        "status_code": min(spec["responses"]),
    }


def document(app: FastAPI, decision_body: type[BaseModel]) -> dict[str, Any]:
    """The document, made once."""
    if app.openapi_schema is None:
        spec = get_openapi(title="OfferRank", version=VERSION, routes=app.routes)
        models = [(decision_body, "validation"), (EventsBody, "validation")]
        answers = [(m, "serialization") for m in (DecisionAnswer, EventsAnswer, ErrorAnswer, LoggedExplanation)]
        _, definitions = models_json_schema([*models, *answers], ref_template=REF)  # type: ignore[list-item]
        components = spec.setdefault("components", {})
        components.setdefault("schemas", {}).update(definitions["$defs"])
        components["securitySchemes"] = KEYS
        _drop_validation_errors(spec)
        app.openapi_schema = spec
    return app.openapi_schema


def _drop_validation_errors(spec: dict[str, Any]) -> None:
    """FastAPI documents a 422 of its own for path parameters; a token or id of any form is a 404 here."""
    for path in ("/v1/i/{token}", "/v1/c/{token}", "/v1/decisions/{decision_id}/explain"):
        spec["paths"][path]["get"]["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        spec["components"]["schemas"].pop(name, None)
