"""What is no shopper's doing is answered like all else, marked, and reserves nothing."""

from typing import Any

import pytest

from domain.events import EventType
from domain.traffic import InvalidTraffic

SAFARI = {
    "user-agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.3"
}
GOOGLEBOT = {"user-agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}
PREFETCH = SAFARI | {"sec-purpose": "prefetch;prerender"}
PAGE = {"placements": [{"name": "main"}]}


@pytest.fixture
def shop(gateway: Any) -> Any:
    """A gateway that a shopper reaches from outside, five seconds after the page was asked for."""
    gateway.client_address = "203.0.113.7"
    return gateway


def token(gateway: Any, offer: int = 0, **body: Any) -> str:
    page = gateway.decide(**body)
    gateway.now_ms += 5000
    return str(page["placements"][0]["offers"][offer]["token"])


def marks(gateway: Any) -> list[tuple[EventType, str]]:
    return [(e.type, e.invalid) for e in gateway.ledger.accepted]


@pytest.mark.parametrize(
    ("headers", "reason"), [(SAFARI, ""), (PREFETCH, "prefetch"), (GOOGLEBOT, "robot"), ({"user-agent": ""}, "library")]
)
def test_urls_answer_everyone_and_mark_who_is_no_shopper(shop, headers, reason):
    of_offer = token(shop)
    assert shop.call("GET", f"/v1/i/{of_offer}", key=None, headers=headers).status_code == 200
    clicked = shop.call("GET", f"/v1/c/{of_offer}", key=None, headers=headers)
    assert (clicked.status_code, clicked.headers["location"][:8]) == (302, "https://")
    assert marks(shop) == [(EventType.IMPRESSION, reason), (EventType.CLICK, reason)]


def test_a_click_at_once_and_a_second_offer_at_once_are_marked(shop):
    page = shop.decide(placements=[{"name": "main", "count": 2}])
    first, second = (o["token"] for o in page["placements"][0]["offers"])
    for after_ms, of_offer in ((50, first), (2000, first), (100, second), (500, second)):
        shop.now_ms += after_ms
        shop.call("GET", f"/v1/c/{of_offer}", key=None, headers=SAFARI)
    assert [reason for _, reason in marks(shop)] == ["too_fast", "", "page_rate", ""]


def test_a_page_reports_as_a_browser_does(shop):
    of_offer = token(shop)
    events = {"events": [{"type": t, "token": of_offer} for t in ("impression", "click")]}
    page = {"origin": "https://shop.example"}
    assert shop.call("POST", "/v1/events", key="publisher-key", json=events, headers=page | GOOGLEBOT).status_code == 200
    assert marks(shop) == [(EventType.IMPRESSION, "robot"), (EventType.CLICK, "robot")]
    assert [e.attested for e in shop.ledger.accepted] == [False, False]


def test_a_server_is_judged_by_what_it_says_of_the_browser(shop):
    shown = [token(shop) for _ in range(4)]
    said = [
        {},
        {"user_agent": GOOGLEBOT["user-agent"]},
        {"user_agent": SAFARI["user-agent"], "ip": "198.51.100.9"},
        {"user_agent": ""},
    ]
    shop.now_ms -= 5000  # at once, by a library
    events = [{"type": "click", "token": t} | s for t, s in zip(shown, said, strict=True)]
    answer = shop.call("POST", "/v1/events", json={"events": events}).json()
    assert answer["errors"] == []
    assert [reason for _, reason in marks(shop)] == ["", "robot", "", "library"]
    assert all(e.attested for e in shop.ledger.accepted)
    clients = [e.client for e in shop.ledger.accepted]
    assert (clients[0], len(clients[2])) == ("", 12)


@pytest.mark.parametrize(("said", "field"), [({"ip": "203.0.113.9"}, "ip"), ({"user_agent": "x"}, "user_agent")])
def test_a_browser_shows_by_itself_what_it_is(shop, said, field):
    of_offer = token(shop)
    page = SAFARI | {"origin": "https://shop.example"}
    events = {"events": [{"type": "click", "token": of_offer} | said]}
    answer = shop.call("POST", "/v1/events", key="publisher-key", json=events, headers=page)
    assert (answer.status_code, answer.json()["errors"][0]["error"]["field"]) == (403, field)
    refused = shop.call("POST", "/v1/decisions", key="publisher-key", json=PAGE | said, headers=page)
    assert (refused.status_code, refused.json()["error"]["field"]) == (403, field)


def test_an_address_is_one(shop):
    events = {"events": [{"type": "click", "token": token(shop), "ip": "nowhere"}]}
    error = shop.call("POST", "/v1/events", json=events).json()["errors"][0]["error"]
    assert error == {"field": "ip", "message": "expected an IPv4 or IPv6 address"}


@pytest.mark.parametrize(
    ("key", "headers", "said", "reason"),
    [
        ("publisher-key", SAFARI, {}, ""),
        ("publisher-key", PREFETCH, {}, "prefetch"),
        ("publisher-key", GOOGLEBOT, {}, "robot"),
        ("server-key", {}, {}, ""),
        ("server-key", GOOGLEBOT, {}, ""),
        ("server-key", {}, {"user_agent": GOOGLEBOT["user-agent"]}, "robot"),
        ("server-key", {}, {"user_agent": SAFARI["user-agent"], "ip": "203.0.113.9"}, ""),
    ],
)
def test_a_robots_page_is_answered_flagged_and_reserves_nothing(shop, key, headers, said, reason):
    page = {"origin": "https://shop.example"} if key == "publisher-key" else {}
    answer = shop.call("POST", "/v1/decisions", key=key, json=PAGE | said, headers=headers | page)
    assert answer.status_code == 200
    assert answer.json()["placements"][0]["offers"]
    (decision,) = shop.logged
    assert decision.invalid == reason
    budgeted = [s for s in decision.slots if shop.view.market.campaign_by_id[s.campaign_id].daily_budget_micros]
    assert budgeted
    assert bool(shop.budgets.held) == any(s.hold_micros for s in budgeted) == (not reason)


def test_a_page_that_was_fetched_ahead_is_the_same_page_when_it_is_looked_at(shop):
    page = {"origin": "https://shop.example"}
    ahead = shop.call("POST", "/v1/decisions", key="publisher-key", json=PAGE | {"id": "p1"}, headers=page | PREFETCH)
    shown = shop.call("POST", "/v1/decisions", key="publisher-key", json=PAGE | {"id": "p1"}, headers=page | SAFARI)
    assert shown.json() == ahead.json()
    assert [d.invalid for d in shop.logged] == ["prefetch"]
    shop.now_ms += 5000
    shop.call("GET", f"/v1/c/{shown.json()['placements'][0]['offers'][0]['token']}", key=None, headers=SAFARI)
    assert marks(shop) == [(EventType.CLICK, "")], "whoever comes after all is a shopper"


def test_one_who_clicks_everything_is_marked_also_while_redis_is_away(shop):
    shop.ledger.away = True
    for i in range(70):
        of_offer = token(shop, shopper={"key": f"s{i}"})
        assert shop.call("GET", f"/v1/c/{of_offer}", key=None, headers=SAFARI).status_code == 302
        shop.now_ms -= 5000
    # Later they are stored as they were judged.
    assert [e.invalid for e in shop.kept] == [""] * 60 + [InvalidTraffic.ADDRESS_RATE] * 10


def test_marks_are_counted_by_what_and_why(shop):
    def counted(what: str, reason: str) -> float:
        text = shop.call("GET", "/metrics", key="operator-key").text
        name = f'offerrank_invalid_traffic_total{{reason="{reason}",what="{what}"}} '
        return float(next((line.removeprefix(name) for line in text.splitlines() if line.startswith(name)), 0))

    before = counted("decision", "robot")
    shop.call("POST", "/v1/decisions", json=PAGE | {"user_agent": GOOGLEBOT["user-agent"]})
    assert counted("decision", "robot") == before + 1


def test_this_machines_tools_are_not_marked(gateway):
    for _ in range(100):
        of_offer = token(gateway)
        gateway.now_ms -= 5000
        gateway.call("GET", f"/v1/i/{of_offer}", key=None)
        gateway.call("GET", f"/v1/c/{of_offer}", key=None)
    assert {reason for _, reason in marks(gateway)} == {""}
    assert {d.invalid for d in gateway.logged} == {""}
