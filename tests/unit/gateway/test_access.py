"""Who may ask what: keys, roles, origins, rates, and what a browser needs."""

import json
import logging
import time

import pytest

from serving.gateway.access import Access
from serving.gateway.patience import Patience
from store.key_records import Role

PAGE = {"placements": [{"name": "main"}]}
SHOP = {"origin": "https://shop.example"}
FLOOR = {"placements": [{"name": "side"}, {"name": "main", "floor_ecpm_micros": 1}]}


def ask(gateway, key, headers=None, url="/v1/decisions", **body):
    return gateway.call("POST", url, key=key, json=PAGE | body, headers=headers)


def said(response):
    return response.status_code, response.json()["error"]["field"]


# Keys.


@pytest.mark.parametrize("path", ["/v1/decisions", "/v1/events"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "server-key"},
        {"authorization": "Bearer "},
        {"authorization": "Basic server-key"},
        {"x-offerrank-key": "wrong"},
        {"authorization": "Bearer \u00e9"},
    ],
)
def test_without_a_key_that_is_known_nothing_is_answered(gateway, path, headers):
    response = gateway.call("POST", path, key=None, json=PAGE, headers={k: v.encode() for k, v in headers.items()})
    assert said(response) == (401, "key")
    assert response.headers["www-authenticate"] == "Bearer"
    assert "wrong" not in response.text  # a key with a slip of the pen must not end up in anybody's log


def test_a_key_may_come_in_either_header_and_a_publishers_in_the_url(gateway):
    assert ask(gateway, "server-key").status_code == 200
    assert ask(gateway, None, {"x-offerrank-key": "server-key"}).status_code == 200
    assert ask(gateway, None, SHOP, url="/v1/decisions?key=publisher-key").status_code == 200
    for role in ("server", "operator"):
        assert said(ask(gateway, None, url=f"/v1/decisions?key={role}-key")) == (403, "key")


def test_the_key_that_asked_is_logged_with_the_decision_and_in_the_token(gateway):
    offer = ask(gateway, "publisher-key", SHOP).json()["placements"][0]["offers"][0]
    assert [d.asked_by for d in gateway.logged] == ["publisher"]
    assert gateway.tokens.read(offer["token"]).asked_by == "publisher"


def test_a_refusal_names_the_key_once_in_a_while(gateway, caplog):
    with caplog.at_level(logging.WARNING, "serving.gateway.access"):
        for _ in range(3):
            ask(gateway, "publisher-key", SHOP, test=True)
    assert [r.getMessage() for r in caplog.records] == ["refused with 403, key publisher: test: `test` needs a server's key"]


# Roles.


@pytest.mark.parametrize(
    ("body", "field", "least"),
    [
        ({}, None, Role.PUBLISHER),
        ({"include_pricing": True}, "include_pricing", Role.SERVER),
        ({"test": True}, "test", Role.SERVER),
        (FLOOR, "placements[1].floor_ecpm_micros", Role.SERVER),
        ({"explain": True}, "explain", Role.OPERATOR),
    ],
)
def test_each_role_may_ask_for_what_those_below_it_may_and_more(gateway, body, field, least):
    for role in (Role.PUBLISHER, Role.SERVER, Role.OPERATOR):
        response = ask(gateway, f"{role}-key", SHOP if role is Role.PUBLISHER else None, **body)
        if role.includes(least):
            assert response.status_code == 200, response.text
        else:
            assert said(response) == (403, field)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.MANAGER])
def test_a_key_of_those_who_run_campaigns_asks_for_no_pages_and_reports_nothing(gateway, role):
    refused = ask(gateway, f"{role}-key", None)
    assert said(refused) == (403, "key")
    assert gateway.call("GET", "/metrics", key=f"{role}-key").status_code == 403


def test_what_is_absent_needs_no_role(gateway):
    page = {"placements": [{"name": "main", "floor_ecpm_micros": 0}], "include_pricing": False, "test": None, "explain": None}
    assert ask(gateway, "publisher-key", SHOP, **page).status_code == 200


def test_prices_cannot_be_found_out_with_a_key_from_a_page(gateway):
    """Today's worst: an anonymous caller reads the eCPM, sends it as the floor, and the winner pays its whole bid."""
    for body in ({"include_pricing": True}, FLOOR, {"test": True}, {"explain": True}):
        assert ask(gateway, "publisher-key", SHOP, **body).status_code == 403
    assert "pricing" not in ask(gateway, "publisher-key", SHOP).text


def test_a_conversion_needs_a_servers_key_and_harms_no_other_event(gateway):
    token = gateway.decide()["placements"][0]["offers"][0]["token"]
    events = {"events": [{"type": "conversion", "token": token}, {"type": "click", "token": token}]}
    answer = gateway.call("POST", "/v1/events", key="publisher-key", json=events, headers=SHOP)
    assert answer.status_code == 200
    assert [(e["index"], e["error"]["field"]) for e in answer.json()["errors"]] == [(0, "type")]
    events["events"].pop()
    alone = gateway.call("POST", "/v1/events", key="publisher-key", json=events, headers=SHOP)
    assert (alone.status_code, alone.json()["results"]) == (403, [])
    assert gateway.call("POST", "/v1/events", key="server-key", json=events).status_code == 200


@pytest.mark.parametrize("path", ["/metrics", "/docs", "/docs/swagger-ui.css", "/openapi.json"])
def test_operators_only(gateway, path):
    assert gateway.call("GET", path, key=None).status_code == 404
    assert said(gateway.call("GET", path, key="wrong")) == (401, "key")
    for key in ("app-key", "server-key"):
        assert said(gateway.call("GET", path, key=key)) == (403, "key")
    assert gateway.call("GET", path, key="operator-key").status_code == 200


def test_tracking_urls_and_health_need_no_key(gateway):
    offer = gateway.decide()["placements"][0]["offers"][0]
    statuses = [gateway.call("GET", f"/v1/{kind}/{offer['token']}", key=None).status_code for kind in "ic"]
    assert statuses == [200, 302]
    assert [gateway.call("GET", path, key=None).status_code for path in ("/healthz", "/readyz")] == [200, 200]


# Origins.


@pytest.mark.parametrize(
    ("key", "origin", "status"),
    [
        ("publisher-key", "https://shop.example", 200),
        ("publisher-key", "http://localhost:3000", 200),
        ("publisher-key", "http://localhost", 200),  # on the scheme's own port, which browsers leave out
        ("publisher-key", "http://localhost:", 403),
        ("publisher-key", "http://localhost:evil", 403),
        ("publisher-key", "http://shop.example", 403),
        ("publisher-key", "https://shop.example:444", 403),
        ("publisher-key", "https://shop.example.evil.example", 403),
        ("publisher-key", "https://evil.example", 403),
        ("publisher-key", "http://localhost.evil.example:80", 403),
        ("publisher-key", "null", 403),
        ("publisher-key", "", 403),
        ("publisher-key", None, 403),
        ("app-key", None, 200),
        ("app-key", "https://shop.example", 403),
        ("server-key", None, 200),
        ("server-key", "https://shop.example", 403),
    ],
)
def test_a_publishers_key_is_bound_to_its_origins_and_no_page_may_send_another(gateway, key, origin, status):
    response = ask(gateway, key, None if origin is None else {"origin": origin})
    assert response.status_code == status
    if status == 403:
        assert said(response) == (403, "origin")


def preflight(gateway, origin, headers="authorization,content-type", method="POST", path="/v1/decisions"):
    wanted = {"origin": origin, "access-control-request-method": method, "access-control-request-headers": headers}
    return gateway.call("OPTIONS", path, key=None, headers=wanted)


def test_a_browser_may_ask_from_the_origins_of_any_publisher(gateway):
    for origin in ("https://shop.example", "http://localhost:3000", "http://localhost"):
        for path in ("/v1/decisions", "/v1/events"):
            allowed = preflight(gateway, origin, "authorization, content-type, x-offerrank-key", path=path)
            assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, origin)
            assert "access-control-allow-credentials" not in allowed.headers
    for refused in (
        preflight(gateway, "https://evil.example"),
        preflight(gateway, "null"),
        preflight(gateway, "https://shop.example", "x-other"),
        preflight(gateway, "https://shop.example", method="DELETE"),
    ):
        assert refused.status_code == 400
    assert "access-control-allow-origin" not in preflight(gateway, "https://evil.example").headers
    assert preflight(gateway, "https://shop.example", path="/metrics").status_code == 405


def test_a_page_can_read_answers_and_errors_of_its_origin(gateway):
    for response in (
        ask(gateway, "publisher-key", SHOP),
        ask(gateway, "wrong", SHOP),
        ask(gateway, "publisher-key", SHOP, id="no id"),
    ):
        assert response.headers["access-control-allow-origin"] == "https://shop.example"
        assert "Origin" in response.headers["vary"]
    evil = ask(gateway, "publisher-key", {"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in evil.headers
    assert "access-control-allow-origin" not in ask(gateway, "server-key").headers


def test_a_beacon_reports_with_a_key_in_the_url_and_text_for_a_body(gateway):
    offers = gateway.decide()["placements"][0]["offers"]
    body = json.dumps({"events": [{"type": "impression", "token": offers[0]["token"]}]})
    headers = SHOP | {"content-type": "text/plain;charset=UTF-8"}
    beacon = gateway.call("POST", "/v1/events?key=publisher-key", key=None, content=body, headers=headers)
    assert beacon.json()["results"][0]["index"] == 0
    page = gateway.call(
        "POST", "/v1/decisions?key=publisher-key", key=None, content=b'{"placements":[{"name":"main"}]}', headers=headers
    )
    assert page.status_code == 200


# Without a keys file.


@pytest.fixture
def keyless(gateway):
    gateway.use(access=Access(None, gateway.service.clock))
    return gateway


def test_without_a_keys_file_this_machine_may_do_what_a_publisher_may(keyless):
    assert ask(keyless, None).status_code == 200
    assert keyless.logged[0].asked_by == ""
    for body, field in (({"include_pricing": True}, "include_pricing"), ({"test": True}, "test"), ({"explain": True}, "explain")):
        assert said(ask(keyless, None, **body)) == (403, field)
    assert said(ask(keyless, "server-key")) == (401, "key")
    assert [keyless.call("GET", path, key=None).status_code for path in ("/metrics", "/docs", "/openapi.json")] == [200] * 3


def test_without_a_keys_file_no_other_machine_and_no_other_page_may_ask(keyless):
    assert said(ask(keyless, None, {"origin": "https://shop.example"})) == (403, "origin")
    assert ask(keyless, None, {"origin": "http://localhost:3000"}).status_code == 200
    for own in ("http://127.0.0.1:5173", "http://127.0.0.1", "http://localhost", "http://[::1]"):
        assert preflight(keyless, own).status_code == 200
    keyless.client_address = "192.0.2.7"
    assert said(ask(keyless, None)) == (401, "key")
    assert keyless.call("GET", "/metrics", key=None).status_code == 404


# Patience.


class Counts(Patience):
    """What was counted."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def asked(self, key, offers, now_s):
        self.seen.append((key, "asked", offers))
        super().asked(key, offers, now_s)

    def shown(self, key, now_s):
        self.seen.append((key, "shown", 1))
        super().shown(key, now_s)


def test_what_a_key_asks_for_and_what_is_shown_of_it_are_counted_however_it_is_reported(gateway):
    gateway.use(patience=Counts())
    first, second = ask(gateway, "publisher-key", SHOP).json()["placements"][0]["offers"]
    for _ in range(3):  # however often it is reported
        gateway.call("GET", f"/v1/i/{first['token']}", key=None)
    seen = {"events": [{"type": "impression", "token": second["token"]}, {"type": "click", "token": second["token"]}]}
    gateway.call("POST", "/v1/events", key="app-key", json=seen)
    ask(gateway, "server-key", test=True)
    assert gateway.service.patience.seen == [("publisher", "asked", 2), ("publisher", "shown", 1), ("publisher", "shown", 1)]


def test_money_is_held_for_less_time_for_a_key_that_never_shows_and_for_no_other(gateway):
    gateway.service.patience.asked("publisher", 9_900, time.monotonic() - 60)
    ask(gateway, "publisher-key", SHOP)
    assert gateway.budgets.patience == pytest.approx(0.01, rel=0.1)  # 100 of 10,000
    ask(gateway, "server-key")
    assert gateway.budgets.patience == 1


# Rates.


def test_an_address_is_held_to_its_rate_and_asking_does_not_use_up_reporting(gateway):
    gateway.use(access=gateway.access(address_per_second=0.1))  # a burst of five seconds' worth: 1
    gateway.client_address = "192.0.2.7"
    offer = ask(gateway, "publisher-key", SHOP).json()["placements"][0]["offers"][0]
    late = ask(gateway, "publisher-key", SHOP)
    assert said(late) == (429, "address")
    assert 1 <= int(late.headers["retry-after"]) <= 5
    events = {"events": [{"type": "impression", "token": offer["token"]}]}
    assert gateway.call("POST", "/v1/events", key="publisher-key", json=events, headers=SHOP).status_code == 200
    # A shopper waits for these: they are never refused.
    assert [gateway.call("GET", f"/v1/c/{offer['token']}", key=None).status_code for _ in range(3)] == [302] * 3
    # Many shoppers stand behind a shop's server, and another address has its own.
    assert ask(gateway, "server-key").status_code == 200
    gateway.client_address = "192.0.2.8"
    assert ask(gateway, "publisher-key", SHOP).status_code == 200


def test_a_key_is_held_to_its_rate_from_all_addresses_together(gateway):
    gateway.use(access=gateway.access(per_second=0.1))
    statuses = []
    for last in range(3):
        gateway.client_address = f"192.0.2.{last}"
        statuses.append(ask(gateway, "publisher-key", SHOP).status_code)
    assert statuses == [200, 429, 429]
    assert said(ask(gateway, "publisher-key", SHOP)) == (429, "key")
    assert ask(gateway, "app-key").status_code == 200


def test_the_addresses_of_one_ipv6_client_are_one(gateway):
    gateway.use(access=gateway.access(address_per_second=0.1))
    statuses = []
    for address in ("2001:db8:1:2::1", "2001:db8:1:2:3:4:5:6", "2001:db8:1:3::1", "::ffff:192.0.2.7", "192.0.2.7"):
        gateway.client_address = address
        statuses.append(ask(gateway, "publisher-key", SHOP).status_code)
    assert statuses == [200, 429, 200, 200, 429]
