"""The model is trained on what it was sent: a request, its log, and the training rows made of that hold the same tensors."""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from log_entries import event_fields

from domain.events import Decision
from features.assemble import from_rows, to_tensors
from features.log_archive import StreamId
from features.log_entry import DEFLATED, deflated
from features.log_schema import contiguous
from features.market import Market, parse_market
from pipelines.bags import bag_columns
from pipelines.columns import feature_column
from pipelines.derived_columns import with_derived
from pipelines.examples import training_rows
from serving.archiver.files import write_part
from serving.archiver.rows import Entry, log_formats
from tests.unit.gateway.conftest import GOLDEN, NOW_MS, Gateway, build

FEATURES = [
    {"name": "city", "source": "shopper", "missing": "own", "vocabulary": ["Bonn", "Ulm"]},
    {"name": "age", "source": "shopper", "dtype": "int", "missing": "own"},
    {"name": "amount", "source": "context", "dtype": "float", "missing": "own"},
    {"name": "past_clicks", "source": "history", "counter": "click", "missing": "own"},
    {"name": "brand", "source": "offer", "missing": "own"},
    {"name": "basket", "source": "context", "multiple": True, "max_values": 3},
    {"name": "visited", "source": "shopper", "dtype": "int", "multiple": True, "max_values": 2, "hash_buckets": 9},
    {"name": "taste", "source": "shopper", "multiple": True, "max_values": 2, "weighted": True},
    {"name": "topics", "source": "offer", "multiple": True, "max_values": 2, "weighted": True},
    {"name": "colours", "source": "offer", "multiple": True, "max_values": 4},
]
DESCRIPTION = {"brand": "acme", "topics": {"tea": 1, "milk": 0.25}, "colours": ["red", "green"]}
NONE = -(2**63)


@pytest.fixture
def market() -> Market:
    """The golden market with other features; every second offer is described."""
    raw = tomllib.loads((GOLDEN / "market.toml").read_text())
    offers = [o | {"features": DESCRIPTION if i % 2 else {}} for i, o in enumerate(raw["offers"])]
    campaigns = [{k: v for k, v in c.items() if k != "targeting"} for c in raw["campaigns"]]
    return parse_market(raw | {"features": FEATURES, "offers": offers, "campaigns": campaigns})


@dataclass(frozen=True)
class Logged:
    """One decision, as sent, as logged, and as trained on."""

    decision: Decision
    sent: dict[str, np.ndarray]
    archived: dict[str, Any]
    rows: pa.Table


Ask = Callable[..., Logged]


@pytest.fixture
def ask(market: Market, tmp_path: Path) -> Ask:
    """Asks for a page all of whose offers are seen."""

    def of(prepare: Callable[[Gateway], object] = lambda _: None, **body: Any) -> Logged:
        gateway = build(market)
        gateway.serve_release()
        prepare(gateway)
        gateway.decide(**body)
        (decision,) = gateway.logged
        assert decision.slots
        shown = [event_fields("impression", s.impression_id, decision.decision_id, NOW_MS) for s in decision.slots]
        events, decisions = log_formats(market)
        entries = {events.name: shown, decisions.name: [{DEFLATED: deflated(decision)}]}
        for log in (events, decisions):
            numbered = [Entry(StreamId(NOW_MS, i), fields) for i, fields in enumerate(entries[log.name])]
            table, rejected = log.table(numbered)
            assert not rejected
            write_part(tmp_path, log.name, table, rejected, numbered[0].id, numbered[-1].id)
        (archived,) = table.to_pylist()
        (sent,) = (inputs for signature, _, inputs in gateway.model.asked if signature == "serving_default")
        return Logged(decision, sent, archived, training_rows(market, tmp_path, NOW_MS + 1))

    return of


def assert_trained_as_sent(market: Market, logged: Logged) -> None:
    """Every training row against the tensors, an offer's by what the catalogue says of it."""
    positions = [[o.id for o in market.offers].index(s.offer_id) for s in logged.decision.slots]
    for f in market.features:
        raw = contiguous(logged.rows[f.name])
        columns = bag_columns(f, raw, str) if f.multiple else [feature_column(f, raw, str)]
        catalogue = to_tensors(f, [market.offer_value(market.offers[i], f) for i in positions]) if f.source == "offer" else {}
        for t, trained in zip(f.tensors, columns, strict=True):
            assert trained.null_count == 0
            sent = catalogue[t.name] if catalogue else np.repeat(logged.sent[t.name], len(positions), axis=0)
            np.testing.assert_array_equal(from_rows(t, trained.to_pylist()), sent, err_msg=t.name)


def test_absent_values_are_null_in_the_log_and_their_own_state_for_the_model(market: Market, ask: Ask) -> None:
    logged = ask()
    nothing = {"city": None, "age": None, "amount": None, "past_clicks": 0, "basket": [], "visited": [], "taste": []}
    assert logged.archived["features"] == nothing
    assert {s["offer_id"]: s["features"]["brand"] for s in logged.archived["slots"]} == {
        o.id: o.features.get("brand") for o in market.offers if o.id in {s.offer_id for s in logged.decision.slots}
    }
    assert [logged.sent[name].tolist() for name in ("city", "age", "past_clicks")] == [[b""], [NONE], [0]]
    assert np.isnan(logged.sent["amount"]).all()
    assert set(logged.sent["brand"]) == {b"acme", b""}
    assert_trained_as_sent(market, logged)


def test_values_that_are_there_stay_what_they_are(market: Market, ask: Ask) -> None:
    shopper = {"city": "Ulm", "age": 7, "visited": [3, 1], "taste": {"tea": 2, "jam": 0.5}}
    logged = ask(shopper={"attributes": shopper}, context={"amount": 2.5, "basket": ["b", "a", "b"]})
    weighted = [{"value": "tea", "weight": 2.0}, {"value": "jam", "weight": 0.5}]
    assert logged.archived["features"] == {
        **{"city": "Ulm", "age": 7, "amount": 2.5, "past_clicks": 0},
        **{"basket": ["b", "a", "b"], "visited": [3, 1], "taste": weighted},
    }
    assert logged.sent["visited"].tolist() == [[3, 1]]
    assert logged.sent["taste_weights"].tolist() == [[2.0, 0.5]]
    assert_trained_as_sent(market, logged)


DERIVED = [
    {"name": "weekday", "source": "context", "derived": "weekday(time_ms)"},
    {"name": "hour", "source": "context", "derived": "hour(time_ms, Asia/Kathmandu)"},
    {"name": "amount_log", "source": "context", "derived": "log(amount)"},
    {"name": "per_click", "source": "context", "derived": "ratio(amount, past_clicks)"},
    {"name": "per_year", "source": "shopper", "derived": "ratio(amount, age)"},
]


class TestDerived:
    """Nobody sends them: the gateway makes them, logs them and sends them; a training makes them anew, and the same."""

    @pytest.fixture
    def market(self, market: Market) -> Market:
        raw = market.model_dump(mode="json", exclude_none=True, exclude={"features"})
        return parse_market(raw | {"features": [*FEATURES, *DERIVED]})

    def test_what_is_sent_is_what_is_logged_and_what_a_training_makes_of_it(self, market: Market, ask: Ask) -> None:
        logged = ask(shopper={"attributes": {"age": 3}}, context={"amount": 0.1})
        names = [f["name"] for f in DERIVED]
        minutes = NOW_MS // 60_000
        made = {name: logged.archived["features"][name] for name in names}
        assert made["weekday"] == (minutes // 1440 + 3) % 7  # 1970 began on a Thursday
        assert made["hour"] == (minutes + 345) // 60 % 24  # 5:45 ahead
        assert made["amount_log"] == float(np.float32(np.log1p(np.float64(np.float32(0.1)))))
        assert made["per_click"] is None  # nothing was clicked before
        assert made["per_year"] == pytest.approx(0.1 / 3)
        assert np.isnan(logged.sent["per_click"]).all()
        assert_trained_as_sent(market, logged)
        (given,) = logged.rows.drop(names).combine_chunks().to_batches()
        anew = with_derived(market, given, lambda column, row: f"{column} {row}")
        for f in (f for f in market.features if f.name in names):
            rows = feature_column(f, anew.column(anew.schema.names.index(f.name)), str).to_pylist()
            np.testing.assert_array_equal(from_rows(f.tensors[0], rows), np.repeat(logged.sent[f.name], len(rows)), f.name)

    def test_a_request_that_brings_one_is_refused(self, market: Market) -> None:
        gateway = build(market)
        answer = gateway.call("POST", "/v1/decisions", json={"context": {"hour": 3}, "placements": [{"name": "main"}]})
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, "context.hour")
        schema = gateway.call("GET", "/openapi.json", key="operator-key").json()["components"]["schemas"]
        assert set(schema["ContextAttributes"]["properties"]) == {"amount", "basket"}


def test_words_for_nothing_are_absent_in_a_request_as_in_a_file(market: Market) -> None:
    raw = market.model_dump(mode="json", exclude_none=True, exclude={"features"})
    gateway = build(parse_market(raw | {"features": FEATURES, "missing_values": ["NA"]}))
    gateway.decide(shopper={"attributes": {"city": "NA", "age": "NA"}}, context={"amount": 1.0})
    assert {name: gateway.logged[0].features[name] for name in ("city", "age")} == {"city": None, "age": None}


def test_a_description_of_an_offer_may_be_a_list(market: Market, ask: Ask) -> None:
    logged = ask()
    described = logged.sent["brand"] == b"acme"
    assert logged.sent["topics"][described][0].tolist() == [b"tea", b"milk"]
    assert logged.sent["topics_weights"][described][0].tolist() == [1.0, 0.25]
    assert logged.sent["colours"][described][0].tolist() == [b"red", b"green", b"", b""]
    assert set(logged.sent["colours"][~described].ravel()) == {b""}


def test_a_shopper_who_cannot_be_read_has_no_known_history(market: Market, ask: Ask) -> None:
    logged = ask(lambda gateway: setattr(gateway.shoppers, "away", True))
    assert logged.decision.degraded == ["shopper"]
    assert logged.archived["features"]["past_clicks"] is None
    assert logged.sent["past_clicks"].tolist() == [NONE]
    assert_trained_as_sent(market, logged)


@pytest.mark.parametrize(
    "body",
    [
        '"context": {"amount": NaN}',
        '"shopper": {"attributes": {"age": -9223372036854775808}}',
    ],
)
def test_no_caller_can_send_what_stands_for_a_missing_number(market: Market, body: str) -> None:
    response = build(market).call(
        "POST",
        "/v1/decisions",
        content=f'{{"placements": [{{"name": "main"}}], {body}}}',
        headers={"content-type": "application/json"},
    )
    assert response.status_code == 422, response.text


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ({"context": {"basket": "a"}}, "context.basket", "must be a list"),
        ({"context": {"basket": ["a"] * 4}}, "context.basket", "at most 3 values, got 4"),
        ({"context": {"basket": [""]}}, "context.basket", "stands for no value"),
        ({"context": {"basket": [1]}}, "context.basket", "must be a string, got 1"),
        ({"context": {"basket_weights": [1]}}, "context.basket_weights", "there is no such key"),
        ({"shopper": {"attributes": {"visited": [1.5]}}}, "shopper.attributes.visited", "whole number"),
        ({"shopper": {"attributes": {"taste": ["tea"]}}}, "shopper.attributes.taste", "table of weights by value"),
        ({"shopper": {"attributes": {"taste": {"tea": -1}}}}, "shopper.attributes.taste", "weights from 0 to 1e+09"),
    ],
)
def test_a_wrong_list_is_refused(market: Market, body: dict[str, Any], field: str, said: str) -> None:
    response = build(market).call("POST", "/v1/decisions", json={"placements": [{"name": "main"}]} | body)
    error = response.json()["error"]
    assert (response.status_code, error["field"]) == (422, field)
    assert said in error["message"]


def test_the_openapi_document_says_how_long_a_list_may_be(market: Market) -> None:
    schemas = build(market).call("GET", "/openapi.json", key="operator-key").json()["components"]["schemas"]
    basket = schemas["ContextAttributes"]["properties"]["basket"]
    basket, nothing = basket["anyOf"]
    assert nothing == {"type": "null"}
    assert (basket["type"], basket["maxItems"], basket["items"]["type"]) == ("array", 3, "string")
    taste, _ = schemas["ShopperAttributes"]["properties"]["taste"]["anyOf"]
    assert (taste["type"], taste["maxProperties"], taste["additionalProperties"]["minimum"]) == ("object", 2, 0)
