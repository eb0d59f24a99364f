"""Events and tracking URLs: what counts, what is refused, and that one bad event harms no other."""

from datetime import UTC, datetime

import pytest

from domain.campaign import Status
from domain.errors import InvalidRequest
from domain.events import EventType
from serving.gateway.tokens import Sold, TokenError, Tokens


@pytest.fixture
def token(gateway):
    """Of alpha-shoes, which is billed by the click at 750_000."""
    return gateway.decide()["placements"][0]["offers"][1]["token"]


def post(gateway, *events):
    return gateway.call("POST", "/v1/events", json={"events": list(events)})


def iso(ms):
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()


def test_a_click_is_charged_once(gateway, token):
    click = {"type": "click", "token": token}
    assert post(gateway, click, click).json() == {
        "results": [
            {"index": 0, "status": "settled", "charged_micros": 750_000},
            {"index": 1, "status": "duplicate", "charged_micros": 0},
        ],
        "errors": [],
    }


def test_errors_stand_by_their_index_and_harm_no_other_event(gateway, token):
    answer = post(
        gateway,
        {"type": "click", "token": "forged"},
        {"type": "click", "token": token},
        {"type": "burp", "token": token},
        {"type": "click", "token": token, "unknown": 1},
        "not an event",
    )
    assert answer.status_code == 200
    assert [r["index"] for r in answer.json()["results"]] == [1]
    assert [(e["index"], e["error"]["field"]) for e in answer.json()["errors"]] == [
        (0, "token"),
        (2, "type"),
        (3, "unknown"),
        (4, "body"),
    ]


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({"type": "click"}, "token"),
        ({"type": "click", "tokens": ["a"], "token": "b"}, "tokens"),
        ({"type": "dismiss", "tokens": []}, "tokens"),
        ({"type": "dismiss", "token": "a", "tokens": ["a"]}, "token"),
        ({"type": "click", "token": 5}, "token"),
        ({"type": "click", "value_micros": 5}, "value_micros"),
        ({"type": "conversion", "value_micros": -5}, "value_micros"),
        ({"type": "conversion", "value_micros": 1.5}, "value_micros"),
        ({"type": "conversion", "value_micros": 2**60}, "value_micros"),
        ({"type": "conversion", "currency": "USD"}, "currency"),
        ({"type": "correction"}, "value_micros"),
        ({"type": "correction", "value_micros": None}, "value_micros"),
        ({"type": "correction", "value_micros": -1}, "value_micros"),
        ({"type": "correction", "value_micros": 5, "currency": "USD"}, "currency"),
        ({"type": "correction", "value_micros": 5, "order_id": "a\nb"}, "order_id"),
        ({"type": "conversion", "event_time": "yesterday"}, "event_time"),
        ({"type": "conversion", "event_time": "2027-01-15T08:00:00"}, "event_time"),
        ({"type": "conversion", "event_time": "2020-01-15T08:00:00Z"}, "event_time"),
        ({"type": "conversion", "event_time": "2050-01-15T08:00:00Z"}, "event_time"),
        ({"type": "conversion", "event_id": "no spaces"}, "event_id"),
    ],
)
def test_a_wrong_event_names_its_field(gateway, token, event, field):
    if "token" not in event and "tokens" not in event and field != "token":
        event = event | {"token": token}
    response = post(gateway, event)
    assert response.status_code == 422
    assert [e["error"]["field"] for e in response.json()["errors"]] == [field]


@pytest.mark.parametrize("events", [[], [{"type": "click", "token": "x"}] * 101, "click", None])
def test_a_batch_has_1_to_100_events(gateway, events):
    response = gateway.call("POST", "/v1/events", json={"events": events})
    assert (response.status_code, response.json()["error"]["field"]) == (422, "events")


def test_a_conversion_carries_value_and_time(gateway, token):
    at = gateway.now_ms
    gateway.now_ms += 3_600_000
    event = {"type": "conversion", "token": token, "value_micros": 59_900_000, "currency": "EUR", "event_time": iso(at + 5000)}
    assert post(gateway, event).json()["results"] == [{"index": 0, "status": "logged", "charged_micros": 0}]


@pytest.mark.parametrize(
    ("at", "taken_as"),
    [
        ("2027-01-15T08:00:05Z", 5_000),
        ("2027-01-15t08:00:05z", 5_000),
        ("2027-01-15T09:00:05.25+01:00", 5_250),
        ("2027-01-15T07:50:00Z", 0),  # the reporter's clock is ten minutes slow
        ("2027-01-15T08:11:00Z", 60_000),  # or ten minutes fast
    ],
)
def test_a_clock_that_is_off_by_ten_minutes_loses_no_event(gateway, token, at, taken_as):
    # The page was decided at 08:00:00, the event comes a minute later.
    decided_ms = gateway.now_ms
    gateway.now_ms += 60_000
    assert post(gateway, {"type": "click", "token": token, "event_time": at}).status_code == 200
    (event,) = gateway.ledger.accepted
    assert event.time_ms - decided_ms == taken_as


@pytest.mark.parametrize("at", ["2027-01-15T07:49:59.999Z", "2027-01-15T08:10:00.001Z"])
def test_a_clock_that_is_off_by_more_is_refused(gateway, token, at):
    response = post(gateway, {"type": "click", "token": token, "event_time": at})
    assert (response.status_code, response.json()["errors"][0]["error"]["field"]) == (422, "event_time")


def test_null_is_absent_in_events(gateway, token):
    event = {"type": "conversion", "token": token, "value_micros": None, "currency": None, "event_id": None, "event_time": None}
    assert post(gateway, event).status_code == 200


def test_tokens_expire(gateway, token):
    # Impressions and dismissals within the hour, clicks and conversions within an hour and 7 days.
    gateway.now_ms += 3_600_000
    response = post(gateway, {"type": "impression", "token": token})
    assert (response.status_code, response.json()["errors"][0]["error"]["field"]) == (410, "token")
    assert gateway.call("GET", f"/v1/i/{token}").status_code == 410
    gateway.now_ms += 7 * 86_400_000 - 1
    assert post(gateway, {"type": "click", "token": token}).status_code == 200
    gateway.now_ms += 1
    assert post(gateway, {"type": "conversion", "token": token}).status_code == 410
    assert gateway.call("GET", f"/v1/c/{token}").status_code == 410


def test_an_order_has_its_number_and_events_of_two_orders_differ(gateway, token):
    def conversion(**more):
        assert post(gateway, {"type": "conversion", "token": token} | more).status_code == 200
        return gateway.ledger.accepted[-1]

    first, second, nameless = conversion(order_id="4711"), conversion(order_id="Bestellung Nr. 4712/\u00e4"), conversion()
    assert (first.order_id, second.order_id, nameless.order_id) == ("4711", "Bestellung Nr. 4712/\u00e4", "")
    assert len({e.event_id for e in (first, second, nameless)}) == 3
    assert conversion(order_id="4711").event_id == first.event_id


def test_a_return_names_its_order_and_comes_from_a_server(gateway, token):
    sent_back = {"type": "return", "token": token, "order_id": "4711"}
    assert post(gateway, sent_back).status_code == 200
    (event,) = gateway.ledger.accepted
    assert (event.type, event.order_id, event.value_micros) == (EventType.RETURN, "4711", None)
    refused = gateway.call("POST", "/v1/events", key="app-key", json={"events": [sent_back]})
    assert (refused.status_code, refused.json()["errors"][0]["error"]["field"]) == (403, "type")


@pytest.mark.parametrize("order_id", ["", "x" * 129, "\u00e4" * 65, "a\nb", "a\x00", 4711])
def test_an_order_number_is_short_text(gateway, token, order_id):
    response = post(gateway, {"type": "conversion", "token": token, "order_id": order_id})
    assert (response.status_code, response.json()["errors"][0]["error"]["field"]) == (422, "order_id")


def test_a_correction_says_the_value_of_its_order_anew(gateway, token):
    for value in (5, 6):
        said = {"type": "correction", "token": token, "order_id": "4711", "value_micros": value, "currency": "EUR"}
        assert post(gateway, said).json()["results"] == [{"index": 0, "status": "logged", "charged_micros": 0}]
        assert post(gateway, said).json()["results"] == [{"index": 0, "status": "duplicate", "charged_micros": 0}]
    # Without an id of the reporter's, another value is another correction.
    first, *_, last = gateway.ledger.accepted
    assert (first.order_id, first.value_micros, last.value_micros) == ("4711", 5, 6)
    assert first.event_id != last.event_id


def test_a_page_cannot_correct_a_value(gateway, token):
    said = {"type": "correction", "token": token, "value_micros": 5}
    refused = gateway.call("POST", "/v1/events", key="app-key", json={"events": [said]})
    assert (refused.status_code, refused.json()["errors"][0]["error"]["field"]) == (403, "type")


def alpha_shoes(gateway):
    return gateway.decide()["placements"][0]["offers"][1]["token"]


def test_a_click_after_the_campaigns_end_leads_on_and_charges_nothing(build_gateway, market):
    ended = datetime.fromtimestamp(1_800_000_060, UTC)  # a minute after the page
    campaigns = [c.model_copy(update={"ends": ended}) if c.id == "alpha-spring" else c for c in market.campaigns]
    gateway = build_gateway(market.model_copy(update={"campaigns": tuple(campaigns)}))
    token = alpha_shoes(gateway)
    gateway.now_ms += 59_999
    assert post(gateway, {"type": "impression", "token": token}).status_code == 200
    gateway.now_ms += 1
    late = post(gateway, {"type": "click", "token": token})
    assert (late.status_code, late.json()["errors"][0]["error"]["field"]) == (410, "token")
    assert gateway.call("GET", f"/v1/c/{token}").headers["location"] == f"https://alpha.example/shoes?click={token}"
    assert gateway.call("GET", f"/v1/i/{token}").status_code == 200
    assert [e.type for e in gateway.ledger.accepted] == [EventType.IMPRESSION]
    # What a server reports late counts for when it happened; conversions come after their clicks, money back at any time.
    for event in ({"type": "click", "event_time": iso(gateway.now_ms - 1000)}, {"type": "conversion"}, {"type": "return"}):
        assert post(gateway, event | {"token": token}).status_code == 200
    assert post(gateway, {"type": "dismiss", "tokens": [token]}).status_code == 200


def test_of_a_campaign_that_is_gone_conversions_of_earlier_clicks_count_and_money_back(gateway):
    sold = Sold("d", "d-0", "alpha-shoes", "of-last-year", "alpha", 0, "cpc", 1, 1, "s", gateway.now_ms, False)
    token = gateway.tokens.write(sold)
    for event in ("impression", "click"):
        assert post(gateway, {"type": event, "token": token}).status_code == 410
    assert gateway.call("GET", f"/v1/c/{token}").status_code == 302  # its offer is still in the catalogue
    for event in ("conversion", "return"):
        assert post(gateway, {"type": event, "token": token}).status_code == 200
    assert [e.type for e in gateway.ledger.accepted] == [EventType.CONVERSION, EventType.RETURN]


@pytest.mark.parametrize(("status", "counts"), [("paused", 200), ("ended", 410)])
def test_pages_from_before_a_pause_count_and_those_of_a_campaign_that_was_ended_do_not(build_gateway, market, status, counts):
    token = alpha_shoes(build_gateway(market))
    others = [c.model_copy(update={"status": Status(status)}) if c.id == "alpha-spring" else c for c in market.campaigns]
    gateway = build_gateway(market.model_copy(update={"campaigns": tuple(others)}))
    assert "alpha-shoes" not in {o["offer_id"] for o in gateway.decide()["placements"][0]["offers"]}
    for event in ("impression", "click"):
        assert post(gateway, {"type": event, "token": token}).status_code == counts
    assert post(gateway, {"type": "conversion", "token": token}).status_code == 200


def test_dismissing_names_several_offers(gateway):
    offers = gateway.decide()["placements"][0]["offers"]
    response = post(gateway, {"type": "dismiss", "tokens": [o["token"] for o in offers]})
    assert response.json()["results"] == [{"index": 0, "status": "logged", "charged_micros": 0}]
    assert set(gateway.ledger.seen) == {("id-1-0", EventType.DISMISS), ("id-1-1", EventType.DISMISS)}


def test_redis_away_asks_to_come_back(gateway, token):
    gateway.ledger.away = True
    response = post(gateway, {"type": "click", "token": token})
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    gateway.ledger.away = False
    assert post(gateway, {"type": "click", "token": token}).json()["results"][0]["status"] == "settled"


def test_a_click_url_charges_and_leads_to_the_landing_page(gateway, token):
    response = gateway.call("GET", f"/v1/c/{token}")
    assert (response.status_code, response.headers["location"]) == (302, f"https://alpha.example/shoes?click={token}")
    assert response.headers["cache-control"] == "no-store"
    assert list(gateway.ledger.seen.values()) == [750_000]


@pytest.mark.parametrize("kind", ["c", "i"])
def test_a_tracking_url_works_while_redis_is_away_and_keeps_the_event(gateway, token, kind):
    gateway.ledger.away = True
    assert gateway.call("GET", f"/v1/{kind}/{token}").status_code in (200, 302)
    (event,) = gateway.kept
    assert (event.type, event.sold.offer_id) == (EventType.CLICK if kind == "c" else EventType.IMPRESSION, "alpha-shoes")


def test_only_get_follows_a_link(gateway, token):
    assert gateway.call("HEAD", f"/v1/c/{token}").status_code == 405
    assert gateway.ledger.seen == {}


@pytest.mark.parametrize("token", ["x", "%00", "https:%2f%2fevil.example", "gAAAAA" + "A" * 500, "A" * 3000, "%F0%9F%92%A9"])
def test_a_forged_link_leads_nowhere(gateway, token):
    click = gateway.call("GET", f"/v1/c/{token}")
    assert (click.status_code, "location" in click.headers) == (404, False)
    assert gateway.call("GET", f"/v1/i/{token}").status_code == 404


def test_an_impression_url_answers_with_a_pixel(gateway, token):
    response = gateway.call("GET", f"/v1/i/{token}")
    assert (response.status_code, response.headers["content-type"]) == (200, "image/gif")
    assert response.content.startswith(b"GIF89a")


def test_an_offer_that_left_the_market_leads_nowhere(gateway):
    gone = Sold("d", "d-0", "gone", "alpha-spring", "alpha", 0, "cpc", 1, 1, "s", gateway.now_ms, False)
    assert gateway.call("GET", f"/v1/c/{gateway.tokens.write(gone)}").status_code == 410


def test_tokens_survive_a_rotation_of_secrets_and_nothing_else():
    sold = Sold("d", "d-0", "o", "c", "a", 0, "cpc", 1, 1, "s", 1_800_000_000_000, False)
    token = Tokens(("old",), "m").write(sold)
    assert Tokens(("new", "old"), "m").read(token) == sold
    with pytest.raises(TokenError) as e:
        Tokens(("new",), "m").read(token)
    assert e.value.kind == "unknown"
    for i in range(10, len(token), 37):
        changed = token[:i] + ("A" if token[i] != "A" else "B") + token[i + 1 :]
        with pytest.raises(InvalidRequest):
            Tokens(("old",), "m").read(changed)


def test_a_token_means_nothing_in_another_market():
    sold = Sold("d", "d-0", "o", "c", "a", 0, "cpc", 1, 1, "s", 1_800_000_000_000, False)
    token = Tokens(("the same secret",), "shoes").write(sold)
    with pytest.raises(TokenError) as e:
        Tokens(("the same secret",), "socks").read(token)
    assert e.value.kind == "unknown"


@pytest.mark.parametrize(
    "spelling",
    [
        lambda token: token + "=",
        lambda token: token + "==&next=https://evil.example",
        lambda token: token[:40] + "\n" + token[40:],
        lambda token: token[:40] + "!" + token[40:],
        lambda token: token + "%0d%0a",
        lambda token: token.replace("-", "+").replace("_", "/") + "/",
        lambda token: token[:-1] + chr(ord(token[-1]) + 1),
    ],
    ids=["padding", "after-the-padding", "line-break", "not-base64", "escapes", "other-alphabet", "unused-bits"],
)
def test_a_token_is_exact_to_the_byte(gateway, spelling):
    sold = Sold("d", "d-0", "alpha-shoes", "alpha-spring", "alpha", 0, "cpc", 1, 1, "a shopper's key", gateway.now_ms, False)
    token = gateway.tokens.write(sold)
    assert gateway.tokens.read(token) == sold
    assert len(token) % 4  # so that its last character has bits that stand for nothing
    with pytest.raises(TokenError) as e:
        gateway.tokens.read(spelling(token))
    assert e.value.kind == "unknown"


def test_a_landing_page_gets_the_token_and_nothing_that_was_hung_onto_it(gateway, token):
    response = gateway.call("GET", f"/v1/c/{token}==%26next=evil")
    assert (response.status_code, "location" in response.headers) == (404, False)
    assert gateway.call("GET", f"/v1/c/{token}").headers["location"] == f"https://alpha.example/shoes?click={token}"


def test_a_token_says_nothing_to_who_has_no_secret():
    sold = Sold("d", "d-0", "o", "campaign-x", "a", 0, "cpc", 1, 1, "s", 1_800_000_000_000, False)
    assert "campaign" not in Tokens(("s",), "m").write(sold)
