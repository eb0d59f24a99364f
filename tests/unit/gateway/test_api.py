"""The HTTP API: what is refused, and how; what is answered, against its documented schema."""

import json
import re

import orjson
import pytest
from pydantic import ValidationError

from domain.campaign import Image, Video
from domain.errors import Unavailable
from domain.refusals import PATTERNS
from serving.gateway.schema import DecisionAnswer, ErrorAnswer, EventsAnswer
from serving.gateway.wire import MAX_BODY

GOOD = {"placements": [{"name": "main"}]}
JSON = {"content-type": "application/json"}


def refused(response, status, field):
    error = ErrorAnswer.model_validate_json(response.content).error
    assert (response.status_code, error.field) == (status, field), response.text
    return error


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"nonsense": 1}, "nonsense"),
        ({"shopper": {"attributes": {"nonsense": 1}}}, "shopper.attributes.nonsense"),
        ({"shopper": {"attributes": {"country": 1}}}, "shopper.attributes.country"),
        ({"shopper": {"attributes": {"country": "x" * 257}}}, "shopper.attributes.country"),
        ({"shopper": {"attributes": {"visits": "3"}}}, "shopper.attributes.visits"),
        ({"shopper": {"attributes": {"visits": 2.5}}}, "shopper.attributes.visits"),
        ({"shopper": {"attributes": {"visits": True}}}, "shopper.attributes.visits"),
        ({"shopper": {"attributes": {"visits": 2**63}}}, "shopper.attributes.visits"),
        ({"shopper": {"attributes": {"visits": 10**400}}}, "shopper.attributes.visits"),
        ({"shopper": {"attributes": {"past_clicks": 3}}}, "shopper.attributes.past_clicks"),
        ({"shopper": {"key": ""}}, "shopper.key"),
        ({"shopper": {"key": "two\nlines"}}, "shopper.key"),
        ({"shopper": {"key": "x" * 257}}, "shopper.key"),
        ({"shopper": {"key": "\u00e9" * 129}}, "shopper.key"),
        ({"context": {"amount": "59.9"}}, "context.amount"),
        ({"context": {"amount": 1e300}}, "context.amount"),
        ({"context": {"country": "US"}}, "context.country"),
        ({"id": "with space"}, "id"),
        ({"placements": []}, "placements"),
        ({"placements": None}, "placements"),
        ({"placements": [{"name": None}]}, "placements[0].name"),
        ({"placements": [{"name": "main"}] * 9}, "placements"),
        ({"placements": [{"name": "nowhere"}]}, "placements[0].name"),
        ({"placements": [{"name": "main", "count": 0}]}, "placements[0].count"),
        ({"placements": [{"name": "main", "count": 21}]}, "placements[0].count"),
        ({"placements": [{"name": "main", "count": "2"}]}, "placements[0].count"),
        ({"placements": [{"name": "main", "floor_ecpm_micros": -1}]}, "placements[0].floor_ecpm_micros"),
        ({"include_pricing": "yes"}, "include_pricing"),
        ({"test": 1}, "test"),
    ],
)
def test_a_wrong_field_is_named(gateway, change, field):
    refused(gateway.call("POST", "/v1/decisions", json=GOOD | change), 422, field)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(gateway, number):
    body = f'{{"placements": [{{"name": "main"}}], "context": {{"amount": {number}}}}}'
    response = gateway.call("POST", "/v1/decisions", content=body, headers=JSON)
    assert response.status_code in (400, 422)
    assert ErrorAnswer.model_validate_json(response.content).error.field in ("body", "context.amount")


@pytest.mark.parametrize("path", ["/v1/decisions", "/v1/events"])
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b'{"a": "\\ud800"}', b"[" * 100_000, b'{"a":' * 5000 + b"1" + b"}" * 5000, b"nul"],
    ids=["empty", "cut", "not-utf8", "surrogate", "deep-list", "deep-dict", "word"],
)
def test_what_is_not_json_is_refused(gateway, path, body):
    response = gateway.call("POST", path, content=body, headers=JSON)
    assert response.status_code in (400, 422), response.text
    assert ErrorAnswer.model_validate_json(response.content)


@pytest.mark.parametrize("path", ["/v1/decisions", "/v1/events"])
@pytest.mark.parametrize("body", ["[]", "1", '"x"', "null", "{}"])
def test_json_of_another_shape_is_refused(gateway, path, body):
    response = gateway.call("POST", path, content=body, headers=JSON)
    assert response.status_code == 422
    assert ErrorAnswer.model_validate_json(response.content)


@pytest.mark.parametrize("path", ["/v1/decisions", "/v1/events"])
def test_huge_bodies_and_other_content_are_refused(gateway, path):
    refused(gateway.call("POST", path, content=b" " * (MAX_BODY + 1), headers=JSON), 413, "body")

    async def chunks():
        for _ in range(MAX_BODY // 1000 + 2):
            yield b" " * 1000

    refused(gateway.call("POST", path, content=chunks(), headers=JSON), 413, "body")
    refused(gateway.call("POST", path, content=b"<xml/>", headers={"content-type": "text/xml"}), 415, "content-type")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, {"field": "placements", "message": "is missing"}),
        ({"placements": []}, {"field": "placements", "message": "expected at least 1 entry", "got": "[]"}),
        ({"placements": "main"}, {"field": "placements", "message": "expected a list", "got": "main"}),
        ({"placements": [7]}, {"field": "placements[0]", "message": "expected an object", "got": 7}),
        (
            {"placements": [{"name": "attic"}]},
            {"field": "placements[0].name", "message": "expected 'main' or 'side'", "got": "attic"},
        ),
        (
            {"placements": [{"name": "main", "count": 1.5}]},
            {"field": "placements[0].count", "message": "expected a whole number", "got": "1.5"},
        ),
        (
            {"placements": [{"name": "main", "count": 21}]},
            {"field": "placements[0].count", "message": "expected at most 20", "got": 21},
        ),
        (GOOD | {"test": "yes"}, {"field": "test", "message": "expected true or false", "got": "yes"}),
        (GOOD | {"colour": {"a": 1}}, {"field": "colour", "message": "there is no such key"}),
        (GOOD | {"context": {"amount": "much"}}, {"field": "context.amount", "message": "must be a number, got 'much'"}),
        (
            GOOD | {"id": "a b"},
            {"field": "id", "message": "expected 1 to 64 letters, digits, . _ and -", "got": "a b"},
        ),
    ],
    ids=lambda value: value.get("field", ""),
)
def test_what_is_wrong_is_said_in_plain_words(gateway, body, error):
    response = gateway.call("POST", "/v1/decisions", json=body)
    assert response.status_code == 422
    assert response.json()["error"] == error


def test_what_is_wrong_with_an_event_is_said_in_plain_words(gateway):
    events = [{"type": "view", "token": "x"}, {"token": "x"}, {"type": "click"}, {"type": "click", "token": ["x"]}, 7]
    answer = gateway.call("POST", "/v1/events", json={"events": events}).json()
    assert [e["error"] for e in answer["errors"]] == [
        {
            "field": "type",
            "message": "expected one of 'impression', 'click', 'conversion', 'return', 'correction', 'dismiss'",
            "got": "view",
        },
        {"field": "type", "message": "is missing"},
        {"field": "token", "message": "is missing"},
        {"field": "token", "message": "expected a string", "got": '["x"]'},
        {"field": "body", "message": "expected an object", "got": 7},
    ]


def test_no_regular_expression_is_shown_to_a_caller(gateway):
    patterns = set(re.findall(r'"pattern": "((?:[^"\\]|\\.)*)"', json.dumps(gateway.call("GET", "/openapi.json").json())))
    assert {json.loads(f'"{p}"') for p in patterns} <= PATTERNS.keys()


def test_no_such_url_and_no_such_method(gateway):
    refused(gateway.call("GET", "/v2"), 404, "url")
    response = gateway.call("GET", "/v1/decisions")
    refused(response, 405, "url")
    assert response.headers["allow"] == "POST"


def test_a_repeated_id_gets_the_first_answer(gateway):
    first = gateway.decide(id="order-1")
    assert first["decision_id"] == "order-1"
    assert gateway.decide(id="order-1") == first
    assert len(gateway.logged) == 1


def test_an_id_stands_for_what_was_asked_not_for_how_it_was_written(gateway):
    asked = {"id": "order-1", "shopper": {"attributes": {"visits": 3, "country": "DE"}}, "placements": [{"name": "main"}]}
    first = gateway.call("POST", "/v1/decisions", json=asked).json()
    again = b"""{ "placements": [{"floor_ecpm_micros": 0, "name": "main", "count": null}],
        "shopper": {"key": null, "attributes": {"country": "DE", "visits": 3.0}}, "context": {}, "explain": false,
        "id": "order-1" }"""
    assert gateway.call("POST", "/v1/decisions", content=again, headers=JSON).json() == first
    for change in ({"shopper": {"key": "s"}}, {"placements": [{"name": "main", "count": 1}]}, {"context": {"amount": 1.0}}):
        refused(gateway.call("POST", "/v1/decisions", json=asked | change), 409, "id")


def test_a_shopper_without_a_key_gets_one(gateway):
    assert gateway.decide()["shopper_key"] == "id-2"
    assert gateway.decide(shopper={"key": "me@example.com"})["shopper_key"] == "me@example.com"


@pytest.mark.parametrize(
    "key",
    ["q83vEjRWeJ+/dw==", "a{b}c", "}{", "{}", "Ann Example <ann@example.com>", "\u00e9" * 128, "x" * 256, '"' * 256, "\\"],
    ids=["base64", "braces", "reversed-braces", "empty-braces", "address", "256-bytes-of-utf8", "long", "quotes", "backslash"],
)
def test_a_shopper_key_may_be_any_printable_text(gateway, key):
    answer = gateway.decide(shopper={"key": key})
    assert answer["shopper_key"] == key
    offer = answer["placements"][0]["offers"][0]
    assert gateway.tokens.read(offer["token"]).shopper_key == key
    assert gateway.call("GET", f"/v1/i/{offer['token']}").status_code == 200


def test_null_is_absent_wherever_absent_is_allowed(gateway, market):
    nothing = {f.name: None for f in market.request_features if f.source == "shopper"}
    of_context = {f.name: None for f in market.request_features if f.source == "context"}
    page = {"name": "main", "count": None, "floor_ecpm_micros": None}
    rest = dict.fromkeys(("id", "include_pricing", "explain", "test"))
    gateway.decide(shopper=None, context=None, placements=[page], **rest)
    gateway.decide(shopper={"key": None, "attributes": None}, context=of_context)
    gateway.decide(shopper={"attributes": nothing}, context={})
    gateway.decide()
    features, *others = (d.features for d in gateway.logged)
    assert others == [features] * 3


def test_answers_are_what_the_document_promises(gateway):
    gateway.campaigns.committed_micros["alpha-spring"] = 10_000_000
    for extra in (
        {},
        {"include_pricing": True},
        {"explain": True},
        {"placements": [{"name": "side", "floor_ecpm_micros": 10**9}]},
    ):
        answer = gateway.decide(**extra)
        DecisionAnswer.model_validate_json(orjson.dumps(answer), strict=True)
    token = gateway.decide()["placements"][0]["offers"][0]["token"]
    response = gateway.call(
        "POST", "/v1/events", json={"events": [{"type": "click", "token": token}, {"type": "click", "token": "x"}]}
    )
    EventsAnswer.model_validate_json(response.content, strict=True)


def test_a_picture_and_a_film_are_in_the_answer_of_the_offers_that_have_them(build_gateway, market):
    image = {"url": "https://alpha.example/shoes.webp", "alt": "Red shoes", "width": 300, "height": 250}
    film = {"url": "https://alpha.example/shoes.mp4", "poster": None, "width": 640, "height": 360}
    media = {"image": Image(**image), "video": Video(**film)}
    others = [o.model_copy(update=media) if o.id == "alpha-shoes" else o for o in market.offers]
    shown = build_gateway(market.selling(market.campaigns, others)).decide()
    DecisionAnswer.model_validate(shown)
    first, second = shown["placements"][0]["offers"]
    assert (second["offer_id"], second["image"], second["video"]) == ("alpha-shoes", image, film)
    assert not {"image", "video"} & first.keys()


def test_the_document_shows_the_markets_features_with_examples(gateway):
    document = gateway.call("GET", "/openapi.json", key="operator-key").json()
    shopper = document["components"]["schemas"]["ShopperAttributes"]
    assert shopper["additionalProperties"] is False
    assert shopper["properties"]["country"]["examples"] == ["US", "GB", "DE"]
    assert [kind["type"] for kind in shopper["properties"]["visits"]["anyOf"]] == ["integer", "null"]
    request = document["components"]["schemas"]["DecisionRequest"]
    (example,) = request["examples"]
    assert gateway.decide(**example)["placements"][0]["offers"]
    assert "HTTPValidationError" not in json.dumps(document)


def test_the_documents_page_needs_nothing_from_elsewhere(gateway):
    page = gateway.call("GET", "/docs", key="operator-key")
    assert page.status_code == 200
    assert "//" not in re.sub(r"(?m)^\s*//.*$", "", page.text.replace("<!--", "").replace("-->", ""))
    addresses = re.findall(r"""(?:src|href)="([^"]*)"|url: '([^']*)'""", page.text)
    own = [one or other for one, other in addresses if not (one or other).startswith("data:")]
    assert sorted(own) == ["docs/swagger-ui-bundle.js", "docs/swagger-ui.css", "openapi.json"]
    for address in own:
        assert gateway.call("GET", f"/{address}", key="operator-key").status_code == 200
        assert gateway.call("GET", f"/{address}", key="server-key").status_code == 403
    assert gateway.call("GET", "/docs/swagger-ui.css", key="operator-key").headers["content-type"].startswith("text/css")
    assert gateway.call("GET", "/docs/__init__.py", key="operator-key").status_code == 404


def test_health_readiness_metrics(gateway):
    assert gateway.call("GET", "/healthz").json() == {"status": "ok"}
    assert gateway.call("GET", "/readyz").json() == {
        "ready": True,
        "market": "golden",
        "release": "cold-start",
        "catalogue": {"version": 0, "followed": None},
        "dependencies": {"redis": True, "model_server": True},
    }
    gateway.model.error = Unavailable("ranker", "refused")
    assert gateway.call("GET", "/readyz").status_code == 200
    gateway.shoppers.away = True
    assert gateway.call("GET", "/readyz").status_code == 503
    gateway.decide()
    assert "offerrank_stage_seconds_count" in gateway.call("GET", "/metrics", key="operator-key").text


def test_the_schemas_refuse_what_they_do_not_know():
    with pytest.raises(ValidationError):
        DecisionAnswer.model_validate({"surprise": 1})
