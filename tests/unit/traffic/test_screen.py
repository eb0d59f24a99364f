"""Which events are a shopper's doing. Each row of the table in docs/traffic.md has its test."""

from dataclasses import replace
from pathlib import Path

import pytest

from domain.events import EventType
from domain.traffic import InvalidTraffic, Rate, TrafficPolicy
from serving.gateway.tokens import Sold
from serving.gateway.traffic import Client, Screen
from serving.gateway.traffic.client import Pseudonyms
from serving.gateway.traffic.networks import NetworkFile

NOW_MS = 1_800_000_000_000
SAFARI = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.3"
SHOPPER = Client("203.0.113.7", SAFARI)
SOLD = Sold("d1", "d1-0", "o1", "c1", "a1", 0, "cpc", 500_000, 1, "s1", NOW_MS - 5000, False)
CLICK, IMPRESSION = EventType.CLICK, EventType.IMPRESSION


def screen(datacentres: NetworkFile | None = None, **policy: object) -> Screen:
    return Screen(TrafficPolicy.model_validate(policy), Pseudonyms("a secret of tests", "market"), datacentres)


def click_of(number: int, shopper: int | None = None, offer: int = 0) -> Sold:
    """A click on a page of its own."""
    return replace(
        *(SOLD,), decision_id=f"d{number}", shopper_key=f"s{number if shopper is None else shopper}", offer_id=f"o{offer}"
    )


def test_a_shoppers_click_is_one() -> None:
    assert screen().of_event(CLICK, SOLD, SHOPPER, NOW_MS) == ""
    assert screen().of_event(IMPRESSION, SOLD, SHOPPER, NOW_MS) == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"sec-purpose", b"prefetch"),
        (b"sec-purpose", b"prefetch;prerender"),
        (b"sec-purpose", b"prefetch;anonymous-client-ip"),
        (b"purpose", b"prefetch"),
        (b"purpose", b"Preview"),
        (b"x-purpose", b"preview"),
        (b"x-moz", b"prefetch"),
    ],
)
def test_what_a_browser_fetches_ahead_nobody_has_asked_for(name: bytes, value: bytes) -> None:
    client = Client.of("203.0.113.7", [(b"host", b"x"), (b"user-agent", SAFARI.encode()), (name, value)])
    assert screen().of_client(client) == InvalidTraffic.PREFETCH
    assert screen().of_event(CLICK, SOLD, client, NOW_MS) == InvalidTraffic.PREFETCH


@pytest.mark.parametrize("name", [b"sec-fetch-purpose", b"referer", b"x-moz-purpose"])
def test_no_other_header_says_that(name: bytes) -> None:
    client = Client.of("203.0.113.7", [(b"user-agent", SAFARI.encode()), (name, b"prefetch"), (b"sec-purpose", b"")])
    assert screen().of_client(client) == ""


@pytest.mark.parametrize(
    "user_agent",
    [
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/126.0.0.0 Safari/537.36",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
        "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    ],
)
@pytest.mark.parametrize("address", ["203.0.113.7", "10.1.2.3", "127.0.0.1"])
def test_robots_say_what_they_are_wherever_they_are(user_agent: str, address: str) -> None:
    assert screen().of_client(Client(address, user_agent)) == InvalidTraffic.ROBOT


@pytest.mark.parametrize(
    "user_agent", ["", "  ", "python-requests/2.32", "Python/3.11 aiohttp/3.9.5", "python-httpx/0.27.0", "curl/8.5"]
)
def test_a_library_is_no_browser_but_the_operators_own_may_be_one(user_agent: str) -> None:
    library = {
        a: screen().of_client(Client(a, user_agent)) for a in ("203.0.113.7", "unknown", "", "10.1.2.3", "::1", "127.0.0.1")
    }
    assert library == {
        "203.0.113.7": InvalidTraffic.LIBRARY,
        "unknown": InvalidTraffic.LIBRARY,
        "": InvalidTraffic.LIBRARY,
        "10.1.2.3": "",
        "::1": "",
        "127.0.0.1": "",
    }


def test_datacentres_have_no_shoppers(tmp_path: Path) -> None:
    path = tmp_path / "datacentres.txt"
    path.write_text("# a cloud\n198.51.100.0/24\n2001:db8:1::/48\n")
    one = screen(NetworkFile(path))
    for address in ("198.51.100.0", "198.51.100.255", "2001:db8:1::9", "::ffff:198.51.100.7"):
        assert one.of_client(replace(SHOPPER, address=address)) == InvalidTraffic.DATACENTRE
    for address in ("198.51.101.0", "2001:db8:2::9", "", "unknown"):
        assert one.of_client(replace(SHOPPER, address=address)) == ""


@pytest.mark.parametrize(
    ("after_ms", "found"), [(-100, ""), (-99, "too_fast"), (0, "too_fast"), (99, "too_fast"), (100, ""), (3_600_000, "")]
)
def test_nobody_reads_a_page_in_a_tenth_of_a_second(after_ms: int, found: str) -> None:
    # Gateways' clocks differ by a little, either way; by more than that, a click says nothing.
    sold = replace(SOLD, issued_ms=NOW_MS - after_ms)
    assert screen().of_event(CLICK, sold, SHOPPER, NOW_MS) == found
    assert screen().of_event(IMPRESSION, sold, SHOPPER, NOW_MS) == ""


def test_nobody_clicks_two_offers_of_a_page_at_once() -> None:
    one = screen()
    other = replace(SOLD, impression_id="d1-1", position=1)
    assert one.of_event(CLICK, SOLD, SHOPPER, NOW_MS) == ""
    assert one.of_event(CLICK, SOLD, SHOPPER, NOW_MS + 10) == "", "a double click is no second offer"
    assert one.of_event(CLICK, other, SHOPPER, NOW_MS + 300) == InvalidTraffic.PAGE_RATE
    assert one.of_event(CLICK, SOLD, SHOPPER, NOW_MS + 900) == "", "600 ms later"


def test_a_shopper_clicks_ten_times_at_once_and_then_one_a_minute() -> None:
    one = screen()
    clicked = [one.of_event(CLICK, click_of(i, shopper=0), replace(SHOPPER, address=f"203.0.113.{i}"), NOW_MS) for i in range(12)]
    assert clicked == [""] * 10 + [InvalidTraffic.SHOPPER_RATE] * 2
    assert one.of_event(CLICK, click_of(12, shopper=0), SHOPPER, NOW_MS + 59_000) == InvalidTraffic.SHOPPER_RATE
    assert one.of_event(CLICK, click_of(13, shopper=0), SHOPPER, NOW_MS + 59_000 + 60_000) == ""
    assert one.of_event(CLICK, click_of(14, shopper=1), SHOPPER, NOW_MS) == "", "another shopper's"


def test_of_a_flood_from_one_address_no_trickle_passes() -> None:
    # 200 a second for a minute, of shoppers and pages that come once: 60 pass at first, and then none, though ten a minute might.
    one = screen()
    found = [one.of_event(CLICK, click_of(i, offer=i), SHOPPER, NOW_MS + 5 * i) for i in range(12_000)]
    assert found == [""] * 60 + [InvalidTraffic.ADDRESS_RATE] * 11_940
    elsewhere = replace(SHOPPER, address="203.0.113.8")
    assert one.of_event(CLICK, click_of(-1), elsewhere, NOW_MS + 60_000) == ""
    assert one.of_event(CLICK, click_of(-2), SHOPPER, NOW_MS + 60_000 + 6_000) == "", "6 s after its end"


def test_an_ipv6_client_is_its_64() -> None:
    one = screen(clicks_per_address={"at_once": 1, "per_hour": 1})
    found = [
        one.of_event(CLICK, click_of(i), replace(SHOPPER, address=a), NOW_MS)
        for i, a in enumerate(("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"))
    ]
    assert found == ["", InvalidTraffic.ADDRESS_RATE, ""]


@pytest.mark.parametrize("address", ["10.1.2.3", "192.168.0.9", "172.17.0.1", "fd00::1", "", "unknown"])
def test_an_address_that_many_share_has_no_rate(address: str) -> None:
    one = screen(offer_click_share=2.0)
    found = [one.of_event(CLICK, click_of(i), Client(address, SAFARI), NOW_MS) for i in range(1000)]
    assert set(found) == {""}
    assert one.of_event(CLICK, replace(SOLD, issued_ms=NOW_MS), Client(address, SAFARI), NOW_MS) == InvalidTraffic.TOO_FAST


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_the_tools_of_this_machine_may_do_all_that_at_any_rate(address: str) -> None:
    one = screen()
    sold = replace(SOLD, issued_ms=NOW_MS)
    found = [
        one.of_event(CLICK, replace(sold, position=i % 3), Client(address, "Python/3.11 aiohttp/3.9.5"), NOW_MS)
        for i in range(1000)
    ]
    assert set(found) == {""}
    # A browser that seems to be here is a shopper's, behind a proxy that does not say where it is.
    assert one.of_event(CLICK, sold, Client(address, SAFARI), NOW_MS) == InvalidTraffic.TOO_FAST


def test_more_clicks_than_every_other_impression_are_none_of_shoppers() -> None:
    # Shoppers everywhere see o1 a hundred times; a robot on as many addresses clicks it again and again.
    one = screen()
    everywhere = [replace(SHOPPER, address=f"198.18.{i // 250}.{i % 250}") for i in range(200)]
    for i in range(100):
        assert one.of_event(IMPRESSION, click_of(i, offer=1), everywhere[i], NOW_MS) == ""
    found = [one.of_event(CLICK, click_of(i, offer=1), everywhere[i], NOW_MS) for i in range(60)]
    assert found == [""] * 50 + [InvalidTraffic.OFFER_RATE] * 10
    assert one.of_event(CLICK, click_of(60, offer=2), everywhere[60], NOW_MS) == "", "another offer"
    for i in range(100, 200):
        one.of_event(IMPRESSION, click_of(i, offer=1), everywhere[i], NOW_MS)
    assert one.of_event(CLICK, click_of(61, offer=1), everywhere[61], NOW_MS) == "", "61 of 200"


def test_an_offer_whose_impressions_nobody_reports_here_has_no_share() -> None:
    one = screen()
    found = [one.of_event(CLICK, click_of(i, offer=1), replace(SHOPPER, address=f"198.18.0.{i}"), NOW_MS) for i in range(200)]
    assert set(found) == {""}


def test_what_is_marked_already_makes_no_offer_look_bad() -> None:
    one = screen()
    for i in range(100):
        one.of_event(IMPRESSION, click_of(i, offer=1), replace(SHOPPER, address=f"198.18.0.{i}"), NOW_MS)
    for i in range(1000):  # one robot of one address
        one.of_event(CLICK, click_of(i, offer=1), Client("198.18.9.9", "curl/8"), NOW_MS)
        one.of_event(CLICK, click_of(i, shopper=-1, offer=1), replace(SHOPPER, address="198.18.9.9"), NOW_MS)
    assert one.of_event(CLICK, click_of(2000, offer=1), SHOPPER, NOW_MS) == ""


@pytest.mark.parametrize("event", [EventType.CONVERSION, EventType.DISMISS, EventType.RETURN])
def test_what_follows_a_click_is_judged_by_the_click(event: EventType) -> None:
    one = screen(clicks_per_shopper={"at_once": 1, "per_hour": 1})
    assert {one.of_event(event, SOLD, Client("203.0.113.7", "curl/8", prefetch=True), SOLD.issued_ms) for _ in range(9)} == {""}


def test_of_a_servers_report_only_what_it_says_of_the_browser_is_judged() -> None:
    one = screen(clicks_per_shopper={"at_once": 1, "per_hour": 1}, clicks_per_address={"at_once": 3, "per_hour": 1})
    assert {one.of_report(CLICK, Client("", None), NOW_MS) for _ in range(99)} == {""}
    assert one.of_report(CLICK, Client("", "Googlebot/2.1"), NOW_MS) == InvalidTraffic.ROBOT
    found = [one.of_report(CLICK, Client("203.0.113.7", None), NOW_MS) for _ in range(5)]
    assert found == [""] * 3 + [InvalidTraffic.ADDRESS_RATE] * 2
    assert one.of_report(EventType.CONVERSION, Client("203.0.113.7", "Googlebot/2.1"), NOW_MS) == ""


def test_impressions_have_rates_of_their_own() -> None:
    one = screen(impressions_per_address={"at_once": 2, "per_hour": 1}, impressions_per_shopper={"at_once": 1, "per_hour": 1})
    found = [one.of_event(IMPRESSION, click_of(i, shopper=s), SHOPPER, NOW_MS) for i, s in enumerate((0, 0, 1, 2))]
    assert found == ["", InvalidTraffic.SHOPPER_RATE, InvalidTraffic.ADDRESS_RATE, InvalidTraffic.ADDRESS_RATE]
    assert one.of_event(CLICK, click_of(9), SHOPPER, NOW_MS) == ""


def test_all_of_it_can_be_switched_off() -> None:
    much = Rate(at_once=1_000_000, per_hour=1e9)
    one = screen(
        min_click_ms=0,
        page_click_gap_ms=0,
        clicks_per_shopper=much,
        clicks_per_address=much,
        offer_click_share=1e9,
    )
    sold = replace(SOLD, issued_ms=NOW_MS)
    assert {one.of_event(CLICK, replace(sold, position=i % 2), SHOPPER, NOW_MS) for i in range(5000)} == {""}
