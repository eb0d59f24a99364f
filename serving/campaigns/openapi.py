"""The OpenAPI document. Bodies are the records of the catalogue: a field that they get is in it by itself."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from catalogue.kinds import CHILDREN, RECORDS, TABLES, Kind
from features.market import Market
from serving.campaigns.bulk import BulkBody
from serving.campaigns.lists import FILTERS, REVIEWS, STATES

REF = "#/components/schemas/{model}"
VERSION = "1"
INTEGER: dict[str, Any] = {"type": "integer"}
STRING: dict[str, Any] = {"type": "string"}
TIME = {"type": "string", "format": "date-time"}
NAMES = {kind: record.__name__ for kind, record in RECORDS.items()}


def _ref(model: str) -> dict[str, Any]:
    return {"$ref": REF.format(model=model)}


def _json(model: str) -> dict[str, Any]:
    return {"application/json": {"schema": _ref(model)}}


def _says(text: str, model: str = "Error", **headers: str) -> dict[str, Any]:
    told = {name.replace("_", "-"): {"description": said, "schema": STRING} for name, said in headers.items()}
    return {"description": text, "content": _json(model)} | ({"headers": told} if told else {})


def _parameter(name: str, where: str, schema: dict[str, Any], text: str, *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": where, "schema": schema, "description": text, "required": required}


LIMIT = _parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": 500, "default": 50}, "Most items of a page.")
CURSOR = _parameter("cursor", "query", STRING, "`next` of the page before.")
BEFORE = _parameter("before", "query", INTEGER, "`next` of the page before.")
AT = _parameter("at_version", "query", INTEGER, "As it was at this version of the catalogue.")
WHY = _parameter("why", "query", {"type": "string", "maxLength": 500}, "For the log of changes.")
WHOLE = _parameter("whole", "query", {"type": "boolean"}, "With all that belongs to it.")
PAUSED_BY = _parameter("version", "query", INTEGER, "The version that paused them.", required=True)
IF_MATCH = _parameter("if-match", "header", STRING, "ETag of what is changed, or * for whatever it is; without it 428.")
ONCE = _parameter("idempotency-key", "header", STRING, "The same request sent again with it is one change.")
FILTER = {
    "text": _parameter("text", "query", STRING, "In id, name, title or body, in any case."),
    "advertiser": _parameter("advertiser", "query", STRING, "Of this one."),
    "campaign": _parameter("campaign", "query", STRING, "Of this one."),
    "status": _parameter("status", "query", STRING, f"Some of {', '.join(STATES)}, with commas between them."),
    "review": _parameter("review", "query", STRING, f"Some of {', '.join(REVIEWS)}, with commas between them."),
}
WHO = {
    401: _says("No key, or one that is unknown or has ended."),
    403: _says("The key is not for this."),
    422: _says("A parameter or header is wrong; the error names it."),
    429: _says("Too often; again after `Retry-After` seconds."),
    503: _says("The database is away: again after `Retry-After` seconds. What is sold goes on."),
}
BODY = {
    400: _says("The body is not JSON, or too deep."),
    413: _says("The body is too large."),
    415: _says("The content type is not application/json."),
    422: _says("Fields are wrong: `error` is the first, `errors` are all of them."),
}
NO_CATALOGUE = {409: _says("There is no catalogue yet, or the idempotency key belongs to another request.")}
GONE = {404: _says("There is none of this id, or not for this key.")}
CONDITIONAL = {
    412: _says("Somebody else has changed it.", etag="Of what it is now."),
    428: _says("No If-Match."),
}


def _route(
    summary: str, answer: str, responses: dict[int, Any], *parameters: Any, status: int = 200, **more: Any
) -> dict[str, Any]:
    told = {status: _says("Done." if status == 200 else "Made.", answer), **WHO, **responses}
    return {"summary": summary, "responses": told, "parameters": parameters, "status": status, **more}


def _routes() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for table, kind in TABLES.items():
        shown, record, filters = f"{NAMES[kind]}Shown", NAMES[kind], [FILTER[name] for name in FILTERS[kind]]
        changing = CONDITIONAL | GONE | NO_CATALOGUE, IF_MATCH, WHY, ONCE
        writing = BODY | changing[0], *changing[1:]
        found |= {
            f"list {table}": _route(f"All {table}", f"{NAMES[kind]}Page", NO_CATALOGUE, CURSOR, LIMIT, *filters, AT),
            f"create {kind}": _route(f"A new {kind}", shown, BODY | NO_CATALOGUE, WHY, ONCE, status=201, body=record),
            f"get {kind}": _route(f"One {kind}, with its version as ETag", shown, GONE | NO_CATALOGUE, AT),
            f"put {kind}": _route(f"Replaces the {kind}", shown, *writing, body=record),
            f"patch {kind}": _route(
                f"Changes some fields of the {kind}: a JSON merge patch (RFC 7396), null takes a field back to its default",
                *(shown, *writing),
                body="Patch",
            ),
            f"delete {kind}": _route(f"Takes the {kind} out", "Made", *changing, *([WHOLE] if kind in CHILDREN else [])),
        }
    in_bulk = BODY | GONE | NO_CATALOGUE | {412: CONDITIONAL[412]}
    found |= {
        "pause campaign": _route("Shows it nowhere, within two seconds", "CampaignShown", GONE | NO_CATALOGUE, WHY, ONCE),
        "resume campaign": _route("Shows it again", "CampaignShown", GONE | NO_CATALOGUE, WHY, ONCE),
        "changes of campaign": _route("Who changed it, when, why, from what to what", "Changes", GONE, BEFORE, LIMIT),
        "pause advertiser": _route("Pauses all its live campaigns", "Made", GONE | NO_CATALOGUE, WHY, ONCE),
        "resume advertiser": _route("Resumes those that a version paused", "Made", GONE | NO_CATALOGUE, PAUSED_BY, WHY, ONCE),
        "pause market": _route("Pauses all live campaigns of the market", "Made", NO_CATALOGUE, WHY, ONCE),
        "resume market": _route("Resumes those that a version paused", "Made", NO_CATALOGUE, PAUSED_BY, WHY, ONCE),
        "bulk": _route("Up to 10,000 edits, all or nothing", "Made", in_bulk, WHY, ONCE, body="BulkBody"),
        "import": _route("Takes over what market.toml lists, as the first version", "Made", NO_CATALOGUE, WHY),
        "changes": _route("Who changed what, newest first", "Changes", NO_CATALOGUE, BEFORE, LIMIT),
        "change": _route("One version, with all that it changed", "Change", GONE),
        "me": _route("Whose key this is", "Me", {}),
    }
    plain = {"description": "It does.", "content": {"application/json": {}}}
    found["healthz"] = {"summary": "The process runs", "responses": {200: plain}, "status": 200, "open": True}
    ready = {200: plain, 503: WHO[503]}
    return found | {"readyz": {"summary": "The database answers", "responses": ready, "status": 200, "open": True}}


ROUTES = _routes()


def describe(route: str) -> dict[str, Any]:
    """Arguments of a FastAPI route decorator."""
    spec = ROUTES[route]
    extra: dict[str, Any] = {} if "open" in spec else {"security": [{"bearer": []}, {"header": []}]}
    if spec.get("parameters"):
        extra["parameters"] = list(spec["parameters"])
    if spec.get("body"):
        extra["requestBody"] = {"required": True, "content": _json(spec["body"])}
    return {
        "operation_id": route.replace(" ", "-"),
        "summary": spec["summary"],
        "responses": spec["responses"],
        "openapi_extra": extra,
        "response_model": None,
        "status_code": spec["status"],
    }


def document(app: FastAPI, market: Market) -> dict[str, Any]:
    """The document, made once."""
    if app.openapi_schema is None:
        spec = get_openapi(title="OfferRank campaigns", version=VERSION, openapi_version="3.1.0", routes=app.routes)
        models: list[type[BaseModel]] = [*RECORDS.values(), BulkBody]
        _, definitions = models_json_schema([(m, "validation") for m in models], ref_template=REF)
        components = spec.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        schemas.update(definitions["$defs"])
        for kind, examples in _examples(market).items():
            schemas[NAMES[kind]]["examples"] = examples
        schemas.update(_answers())
        components["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "x-offerrank-key"},
        }
        for operations in spec["paths"].values():
            for operation in operations.values():
                if "HTTPValidationError" in str(operation["responses"].get("422", "")):
                    del operation["responses"]["422"]  # FastAPI's own
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        app.openapi_schema = spec
    return app.openapi_schema


def _examples(market: Market) -> dict[Kind, list[dict[str, Any]]]:
    """As this market would have them."""
    campaign = {
        "id": "spring",
        "advertiser": "acme",
        "name": "Spring sale",
        "status": "draft",
        "bid_kind": "cpc",
        "bid_micros": 400_000,
    }
    offer = {"id": "spring-shoes", "campaign": "spring", "title": "20 % off shoes", "landing_url": "https://acme.example/spring"}
    known = [f for f in market.offer_features if f.derived is None and f.examples and not f.multiple]
    features = {f.name: f.examples[0] for f in known}
    return {
        "advertiser": [{"id": "acme", "name": "Acme Ltd."}],
        "campaign": [campaign | {"daily_budget_micros": 50_000_000, "ends": "2027-06-01T00:00:00Z"}],
        "offer": [offer | ({"features": features} if features else {})],
    }


def _object(description: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "description": description, "properties": properties, "required": list(properties)}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _answers() -> dict[str, Any]:
    by = _or_null(_object("The last change.", at=TIME, by=STRING))
    error = _object("What is wrong.", field=STRING, message=STRING)
    error["properties"]["got"] = {}
    field = _object("What became of a field; null is its default.", field=STRING, **{"from": {}, "to": {}})
    what = {"enum": ["added", "changed", "removed"]}
    changed = _object("What became of an entry.", kind=STRING, id=STRING, what=what, fields=_list(field))
    told = {"version": INTEGER, "at": TIME, "by": STRING, "why": STRING, "entries": INTEGER}
    answers = {
        "Patch": {
            "type": "object",
            "description": "Fields to change; null takes one back to its default.",
            "examples": [{"bid_micros": 450_000}],
        },
        "Made": _object("A change.", version=INTEGER, entries=INTEGER),
        "Change": _object(
            "Who made a version, and what it changed; null where a list leaves that out.",
            **told,
            changed=_or_null(_list(changed)),
        ),
        "Changes": _object("A page, newest first.", items=_list(_ref("Change")), next=_or_null(INTEGER)),
        "Me": _object("A key.", name=STRING, role=STRING, advertisers=_or_null(_list(STRING)), market=STRING, currency=STRING),
        "Error": _object("What is wrong.", error=error),
    }
    one = {"type": "object", "properties": {"index": INTEGER, "error": error}, "required": ["error"]}
    answers["Error"]["properties"]["errors"] = _list(one)
    for kind, name in NAMES.items():
        shown: dict[str, Any] = {kind: _ref(name), "version": INTEGER}
        shown |= {"state": {"enum": list(STATES)}} if kind == "campaign" else {}
        shown |= {f"{CHILDREN[kind]}s": INTEGER} if kind in CHILDREN else {}
        answers[f"{name}Shown"] = _object(f"The {kind}, as it was last changed.", **shown, changed=by)
        answers[f"{name}Page"] = _object("A page.", items=_list(_ref(f"{name}Shown")), next=_or_null(STRING), catalogue=INTEGER)
    return answers
