"""Clicks and impressions that were answered while Redis is away survive the end of the gateway, whatever ends it."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import redis
from gateway_process import GOLDEN, GatewayProcess
from open_market import open_market

from domain.events import EventType
from domain.keys import PARTITIONS, Keys
from features.market import load_market
from serving.embedded_redis import EmbeddedRedis

MARKET = load_market(GOLDEN)
KEYS = Keys(MARKET.name)
PAGES = 40
PATIENCE_S = 30.0


@pytest.fixture
def gateways(own_redis: EmbeddedRedis, tmp_path: Path) -> Iterator[Callable[..., GatewayProcess]]:
    open_market(own_redis.url, MARKET)
    started: list[GatewayProcess] = []

    def start(name: str = "gateway", journal: Path = tmp_path / "journal") -> GatewayProcess:
        started.append(GatewayProcess(GOLDEN, own_redis.url, tmp_path / f"{name}.log", journal_dir=journal, address_per_second=0))
        started[-1].start()
        return started[-1]

    yield start
    for gateway in started:
        if gateway.child is not None:
            gateway.end(signal.SIGKILL)


def show(gateway: GatewayProcess, pages: int) -> list[str]:
    """A token from each of so many pages."""
    body = {"placements": [{"name": "main"}]}
    with httpx.Client(base_url=gateway.url, headers=gateway.headers) as client:
        answers = [client.post("/v1/decisions", json=body).json() for _ in range(pages)]
    return [answer["placements"][0]["offers"][0]["token"] for answer in answers]


def come_back(server: EmbeddedRedis) -> None:
    """Redis with its data, which a pacer has looked at."""
    server.start()
    open_market(server.url, MARKET)


def see_and_click(gateway: GatewayProcess, tokens: list[str]) -> None:
    with httpx.Client(base_url=gateway.url) as client:
        for token in tokens:
            assert client.get(f"/v1/i/{token}").status_code == 200
            assert client.get(f"/v1/c/{token}").status_code == 302


def logged(redis_url: str, kind: EventType) -> list[str]:
    """Impression ids of accepted events."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        entries = [fields for p in range(PARTITIONS) for _, fields in client.xrange(KEYS.events(p))]
    return [e["impression_id"] for e in entries if e["type"] == kind]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_every_answered_click_is_accepted_once_by_the_next_gateway(gateways, own_redis, ending):
    gateway = gateways()
    tokens = show(gateway, PAGES)
    own_redis.stop()
    see_and_click(gateway, tokens)
    gateway.end(ending)
    come_back(own_redis)
    gateway.start()
    wait_until(lambda: len(logged(own_redis.url, EventType.CLICK)) >= PAGES)
    for kind in (EventType.IMPRESSION, EventType.CLICK):
        assert len(set(logged(own_redis.url, kind))) == len(logged(own_redis.url, kind)) == PAGES
    wait_until(lambda: not any((gateway.log.parent / "journal").rglob("*.journal")))
    assert gateway.report("click", tokens[0])["status"] == "duplicate"


def test_a_gateway_beside_takes_over_from_one_that_died_and_leaves_the_living_alone(gateways, own_redis):
    dying, living, idle = gateways("dying"), gateways("living"), gateways("idle")
    tokens = show(living, 20)
    own_redis.stop()
    see_and_click(dying, tokens[:10])
    see_and_click(living, tokens[10:])
    dying.end(signal.SIGKILL)
    come_back(own_redis)
    wait_until(lambda: len(logged(own_redis.url, EventType.CLICK)) >= 20)
    assert len(set(logged(own_redis.url, EventType.CLICK))) == len(logged(own_redis.url, EventType.CLICK)) == 20
    wait_until(lambda: not any((living.log.parent / "journal").rglob("*.journal")))
    assert sum("20 events of a process that is gone" in g.log.read_text() for g in (living, idle)) == 1


def test_a_journal_that_cannot_be_written_stops_no_click(gateways, own_redis, tmp_path):
    taken = tmp_path / "taken"
    taken.touch()
    gateway = gateways(journal=taken / "journal")
    tokens = show(gateway, 3)
    own_redis.stop()
    see_and_click(gateway, tokens)
    come_back(own_redis)
    wait_until(lambda: len(logged(own_redis.url, EventType.CLICK)) == 3)
    shown = httpx.get(f"{gateway.url}/metrics", headers={"authorization": f"Bearer {gateway.keys['operator']}"}).text
    assert "offerrank_journal_failures_total 6.0" in shown
    assert gateway.log.read_text().count("wait in memory alone") >= 1
