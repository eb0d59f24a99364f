"""Offers may have any printable text for an id: it comes back as it is, from the market file to the archive."""

from typing import Any

import pytest
from log_entries import event_fields

from domain.campaign import Offer
from domain.errors import InvalidMarket
from features.log_archive import StreamId
from features.log_entry import DEFLATED, deflated
from features.market import parse_market
from serving.archiver.rows import Entry, log_formats
from serving.gateway.tokens import MAX_TOKEN, Sold, Tokens
from tests.unit.gateway.conftest import NOW_MS, Gateway, build

IDS = [
    "Wein 0,7 l (rot) <b>",
    "a|b:{c}*?[d]",
    "../../etc/passwd",
    "%7B{token}%00",
    "'; DROP TABLE offers; --",
    'say "tea"\\n',
    "日本酒🍶",
    "\u202eright to left",
    "𝔸" * 64,
]


@pytest.fixture
def gateway(market: Any) -> Gateway:
    raw = market.model_dump(mode="json", exclude_none=True)
    features = [{**f, "vocabulary": 100} if f["name"] == "offer_id" else f for f in raw["features"]]
    offers = [o | {"id": name} for o, name in zip(raw["offers"], IDS, strict=False)]
    return build(parse_market(raw | {"features": features, "offers": offers}))


def test_ids_come_back_as_they_are_in_answers_tokens_and_the_archive(gateway: Gateway) -> None:
    market = gateway.view.market
    given = {o.id for o in market.offers}
    answered = gateway.decide()["placements"][0]["offers"]
    assert answered
    assert {o["offer_id"] for o in answered} <= given
    for shown in answered:
        sold = gateway.service.tokens.read(shown["token"])
        assert sold.offer_id == shown["offer_id"]
        assert gateway.call("GET", f"/v1/c/{shown['token']}").status_code == 302
    (decision,) = gateway.logged
    events, decisions = log_formats(market)
    table, rejected = decisions.table([Entry(StreamId(NOW_MS, 0), {DEFLATED: deflated(decision)})])
    assert not rejected
    assert {s["offer_id"] for s in table.to_pylist()[0]["slots"]} == {o["offer_id"] for o in answered}
    for i, name in enumerate(IDS):
        fields = event_fields("click", f"i{i}", "d", NOW_MS) | {b"offer_id": name.encode()}
        table, rejected = events.table([Entry(StreamId(NOW_MS, i), fields)])
        assert not rejected
        assert table["offer_id"].to_pylist() == [name]


def test_the_longest_id_fits_into_the_url_of_the_most_talkative_shopper() -> None:
    longest = "𝔸" * 64
    named = ("d" * 64, "d" * 64 + "-19", longest, "c" * 64, "a" * 64)
    sold = Sold(*named, 19, "cpc", 2**53, 99_999, '"' * 256, 2**42, False, "k" * 64, 2**53)
    token = Tokens(("secret",), "m" * 64).write(sold)
    assert len(token) <= MAX_TOKEN
    assert Tokens(("secret",), "m" * 64).read(token) == sold


@pytest.mark.parametrize("name", ["", " tea", "tea ", "a\tb", "a\nb", "a\x00b", "a\x7fb", "a\u2028b", "x" * 65])
def test_other_ids_are_refused(market: Any, name: str) -> None:
    raw = market.model_dump(mode="json", exclude_none=True)
    raw["offers"][0]["id"] = name
    with pytest.raises(InvalidMarket, match="expected 1 to 64 printable characters, no space first or last"):
        parse_market(raw)


def test_campaigns_whose_ids_are_in_keys_stay_plain() -> None:
    with pytest.raises(ValueError, match="campaign"):
        Offer(id="tea", campaign="a|b", title="Tea", landing_url="https://tea.example")
