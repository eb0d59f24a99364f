"""Fraud against a real gateway and Redis: everything is answered, next to nothing is charged, and shoppers beside it are."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
import redis
from gateway_process import GOLDEN, GatewayProcess
from open_market import open_market

from domain.clock import budget_day, now_ms
from domain.keys import Keys, partition_of
from features.market import load_market
from serving.embedded_redis import EmbeddedRedis
from serving.gateway.tokens import Sold, Tokens

MARKET = load_market(GOLDEN)
KEYS = Keys(MARKET.name)
CAMPAIGN, PRICE = "alpha-rest", 1000  # of a budget of 5,000,000: room for every click of these tests
BROWSER = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/134.0.0.0 Safari/537.36"
AT_ONCE = MARKET.policy.traffic.clicks_per_address.at_once
LEAST_CLICKS = MARKET.policy.traffic.offer_min_clicks


@pytest.fixture(scope="module")
def gateway(redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """It stands behind a proxy on this machine, which says where clients are. Each test has an offer and addresses of its own."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    open_market(redis_server.url, MARKET)
    log = tmp_path_factory.mktemp("attack") / "gateway.log"
    process = GatewayProcess(GOLDEN, redis_server.url, log, trusted_proxies="127.0.0.1")
    process.start()
    yield process
    process.end(signal.SIGKILL)


def tokens(what: str, n: int, offer: str) -> list[str]:
    """Of n pages, asked for five seconds ago by as many shoppers."""
    writer, at_ms = Tokens(("a secret of tests",), MARKET.name), now_ms() - 5000
    day = budget_day(at_ms, MARKET.policy.day_length_s)
    return [
        writer.write(
            Sold(f"{what}{i}", f"{what}{i}-0", offer, CAMPAIGN, "alpha", 0, "cpc", PRICE, day, f"{what}{i}", at_ms, False)
        )
        for i in range(n)
    ]


def run(gateway: GatewayProcess, attack: Callable[[Callable[[str, str], Awaitable[None]]], Awaitable[None]]) -> Counter[int]:
    """Calls `attack(see_and_click)`; the statuses of all answers."""
    answered: Counter[int] = Counter()

    async def go() -> None:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30, limits=httpx.Limits(max_connections=8)) as client:

            async def see_and_click(token: str, address: str) -> None:
                headers = {"user-agent": BROWSER, "x-forwarded-for": address}
                for path in (f"/v1/i/{token}", f"/v1/c/{token}"):
                    answered[(await client.get(path, headers=headers)).status_code] += 1

            await attack(see_and_click)

    asyncio.run(go())
    return answered


@pytest.fixture
def raw(redis_server: EmbeddedRedis) -> Iterator[Any]:
    with redis.Redis.from_url(redis_server.url, decode_responses=True) as client:
        yield client


def logged_of(raw: Any, offer: str) -> list[dict[str, Any]]:
    return [e for _, e in raw.xrange(KEYS.events(partition_of(CAMPAIGN))) if e["offer_id"] == offer]


def clicks(raw: Any, offer: str) -> list[dict[str, Any]]:
    return [e for e in logged_of(raw, offer) if e["type"] == "click"]


def charged(raw: Any, offer: str, who: str, n: int) -> int:
    """Micros charged to somebody's clicks, once all n are: on a busy machine an impression may reach Redis after its click."""
    deadline = time.monotonic() + 20
    while True:
        charges = [int(e["charged_micros"]) for e in logged_of(raw, offer) if e["decision_id"].startswith(who)]
        if sum(map(bool, charges)) >= n or time.monotonic() > deadline:
            return sum(charges)
        time.sleep(0.1)


def test_of_one_client_that_clicks_everything_next_to_nothing_is_charged(gateway, raw):
    """Six hundred shoppers and pages, one address, as fast as answers come; it reports its impressions before it clicks."""
    pages, shoppers = tokens("bot", 600, "alpha-hats"), tokens("shopper", 10, "alpha-hats")

    async def attack(see_and_click):
        at_once = asyncio.Semaphore(8)

        async def one(i: int, token: str) -> None:
            async with at_once:
                await see_and_click(token, "203.0.113.7")
                if i >= 200 and i % 40 == 0:  # shoppers elsewhere, meanwhile
                    await see_and_click(shoppers[i // 40 - 5], f"198.51.100.{i // 40}")

        await asyncio.gather(*(one(i, token) for i, token in enumerate(pages)))

    answered = run(gateway, attack)
    assert answered == {200: 610, 302: 610}, "marked, not blocked"
    of_bot = [e for e in clicks(raw, "alpha-hats") if e["decision_id"].startswith("bot")]
    valid = [e for e in of_bot if e["status"] != "invalid"]
    assert len(of_bot) == 600
    assert len(valid) <= AT_ONCE + 10, "what the address had left, and what ran in meanwhile"
    reasons = Counter(e["reason"] for e in of_bot if e["status"] == "invalid")
    assert reasons.total() == 600 - len(valid)
    assert reasons.keys() <= {"address_rate", "offer_rate"}, "the latter while it is most of what the offer has seen"
    assert charged(raw, "alpha-hats", "shopper", 10) == 10 * PRICE, "shoppers beside it are charged as ever"
    assert charged(raw, "alpha-hats", "bot", len(valid)) == len(valid) * PRICE
    day = budget_day(now_ms(), MARKET.policy.day_length_s)
    assert int(raw.hget(KEYS.budget(CAMPAIGN, day), "spent")) == (len(valid) + 10) * PRICE
    # One stand-in for its address, and no address.
    assert len({e["client"] for e in of_bot}) == 1
    assert "203.0.113.7" not in "".join(map(str, logged_of(raw, "alpha-hats")))
    # No history, no cap for what was marked.
    marked = next(e["shopper_key"] for e in of_bot if e["status"] == "invalid")
    assert raw.hget(KEYS.shopper(marked), "click") is None
    assert raw.hget(KEYS.shopper(marked), "impression") == "1"


def test_robots_on_as_many_addresses_are_seen_by_the_offer_they_click(gateway, raw):
    pages = tokens("robot", 150, "alpha-shoes")

    async def attack(see_and_click):
        for i, token in enumerate(pages):
            await see_and_click(token, f"203.0.114.{i}")

    assert run(gateway, attack) == {200: 150, 302: 150}
    found = Counter(e["reason"] for e in clicks(raw, "alpha-shoes"))
    assert found.keys() == {"", "offer_rate"}
    assert LEAST_CLICKS - 1 <= found[""] <= LEAST_CLICKS + 5, "old clicks fade meanwhile"
    assert charged(raw, "alpha-shoes", "robot", found[""]) == found[""] * PRICE


def test_a_scanner_before_the_shopper_costs_nobody_anything(gateway, raw):
    (token,) = tokens("page", 1, "beta-bank")

    def click(**headers: str) -> int:
        headers = {"user-agent": BROWSER, "x-forwarded-for": "203.0.115.7"} | {k.replace("_", "-"): v for k, v in headers.items()}
        httpx.get(f"{gateway.url}/v1/i/{token}", headers=headers)
        return httpx.get(f"{gateway.url}/v1/c/{token}", headers=headers).status_code

    assert [click(sec_purpose="prefetch"), click(user_agent="Slackbot-LinkExpanding 1.0"), click(), click()] == [302] * 4
    assert charged(raw, "beta-bank", "page", 1) == PRICE
    logged = logged_of(raw, "beta-bank")
    assert Counter((e["type"], e["reason"]) for e in logged if e["status"] == "invalid") == {
        ("impression", "prefetch"): 1,
        ("click", "prefetch"): 1,
    }
    assert Counter(e["type"] for e in logged if e["status"] != "invalid" and e["type"] != "charge") == {
        "impression": 1,
        "click": 1,
    }


def test_the_tools_of_this_machine_are_charged_in_full(gateway, raw):
    """The simulator, load generators and these tests: a library, on loopback, at any rate."""
    pages = tokens("tool", 80, "gamma-trip")
    with httpx.Client(base_url=gateway.url) as client:
        for token in pages:
            assert client.get(f"/v1/i/{token}").status_code == 200
            assert client.get(f"/v1/c/{token}").status_code == 302
    assert charged(raw, "gamma-trip", "tool", 80) == 80 * PRICE
    assert {e["reason"] for e in clicks(raw, "gamma-trip")} == {""}
