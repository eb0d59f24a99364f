"""The pacer against a real Redis: as an object where time matters, as a process where signals and outages do."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis
from open_market import begin_archive, let_in

from domain.clock import budget_day, now_ms
from domain.keys import LIFETIME, Keys, hold_member, partition_of
from features.market import Market, load_market
from retrieval.catalogue import UNLIMITED
from serving.embedded_redis import EmbeddedRedis
from serving.gateway.adapters.campaigns import RedisCampaigns
from serving.gateway.adapters.money_clock import MoneyClock
from serving.gateway.adapters.redis_link import RedisLink
from serving.pacer import Pacer

KEYS = Keys("paced")
HOLDS = KEYS.holds(partition_of("budgeted"))
DAY_S = 1000
MARKET = f"""
name = "paced"
currency = "EUR"
placements = [{{ name = "main", count = 1 }}]
features = [{{ name = "offer_id", source = "offer", default = "" }}]
tasks = [{{ name = "ctr", label = "click" }}]
offers = [
  {{ id = "o1", campaign = "budgeted", title = "One", landing_url = "https://one.example" }},
  {{ id = "o2", campaign = "unlimited", title = "Two", landing_url = "https://two.example" }},
]

[policy]
id = "p"
priors = {{ ctr = 0.1 }}
day_length_s = {DAY_S}

[[campaigns]]
id = "budgeted"
advertiser = "a"
bid_kind = "cpc"
bid_micros = 1_000
daily_budget_micros = 1_000_000

[[campaigns]]
id = "unlimited"
advertiser = "b"
bid_kind = "cpc"
bid_micros = 500_000
"""


@pytest.fixture
def market_file(tmp_path: Path) -> Path:
    path = tmp_path / "market.toml"
    path.write_text(MARKET)
    return path


@pytest.fixture
def market(market_file: Path) -> Market:
    return load_market(market_file)


@pytest.fixture
def client(redis_url: str) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        let_in(client, "paced")
        yield client


def multipliers(client: "redis.Redis") -> dict[str, float]:
    return {c: float(m) for c, m in client.hgetall(KEYS.pacing).items()}


def at(day: int, fraction: float) -> int:
    return int((day + fraction) * DAY_S * 1000)


def test_spend_ahead_of_plan_lowers_the_multiplier_and_behind_raises_it(client: "redis.Redis", market: Market) -> None:
    pacer = Pacer(client, market, lock_s=5)
    pacer.turn(at(3, 0.10))
    assert multipliers(client) == {"budgeted": 1.0, "unlimited": 1.0}
    client.hincrby(KEYS.budget("budgeted", 3), "spent", 60_000)
    client.hincrby(KEYS.budget("unlimited", 3), "spent", 10**12)
    pacer.turn(at(3, 0.11))
    # Planned 1 % of the traffic left of 89 %: 1.124 % of the budget; spent 6 %: exp(-10 x 0.04876) = 0.614.
    assert multipliers(client) == {"budgeted": pytest.approx(0.6141, abs=1e-3), "unlimited": 1.0}
    pacer.turn(at(3, 0.15))
    # Planned 94 % x 4 / 88 = 4.273 %, spent nothing: 0.614 x exp(0.4273) = 0.941.
    assert multipliers(client)["budgeted"] == pytest.approx(0.9414, abs=1e-3)


def test_a_lifetime_budget_is_paced_over_the_days_to_its_end_and_haste_bids_in_full(
    client: "redis.Redis", market: Market
) -> None:
    ends = datetime.fromtimestamp(7 * DAY_S, UTC)
    lasting = {"daily_budget_micros": None, "lifetime_budget_micros": 4_000_000, "ends": ends}
    campaign = market.campaigns[0].model_copy(update=lasting)
    hasty = market.campaigns[0].model_copy(update={"id": "hasty", "pacing": "asap"})
    pacer = Pacer(client, market.model_copy(update={"campaigns": (campaign, hasty)}), lock_s=5)
    client.hset(KEYS.pacing, mapping={"budgeted": "0.5", "hasty": "0.5"})
    client.hset(KEYS.budget("budgeted", LIFETIME), mapping={"limit": 4_000_000, "spent": 0})
    pacer.turn(at(3, 0.10))
    client.hincrby(KEYS.budget("budgeted", 3), "spent", 60_000)
    client.hincrby(KEYS.budget("budgeted", LIFETIME), "spent", 60_000)
    client.hincrby(KEYS.budget("hasty", 3), "spent", 60_000)
    pacer.turn(at(3, 0.11))
    # A quarter of it is for the first of four days: a million, as above.
    assert multipliers(client) == {"budgeted": pytest.approx(0.5 * 0.6141, abs=1e-3), "hasty": 1.0}


def test_spend_of_another_day_is_another_days(client: "redis.Redis", market: Market) -> None:
    pacer = Pacer(client, market, lock_s=5)
    client.hset(KEYS.pacing, "budgeted", "0.5")
    client.hincrby(KEYS.budget("budgeted", 3), "spent", 1_000_000)
    pacer.turn(at(3, 0.99))
    pacer.turn(at(4, 0.0))
    assert multipliers(client)["budgeted"] == 0.5


def test_a_new_leader_continues_where_the_last_one_stopped(client: "redis.Redis", market: Market) -> None:
    client.hset(KEYS.pacing, mapping={"budgeted": "0.25", "unlimited": "0.5", "long-gone": "0.5"})
    client.hincrby(KEYS.budget("budgeted", 3), "spent", 900_000)
    Pacer(client, market, lock_s=5).turn(at(3, 0.5))
    # What was spent before it led is no reason to move; a campaign without a budget is never held back.
    assert multipliers(client) == {"budgeted": 0.25, "unlimited": 1.0}


@pytest.mark.parametrize(("stored", "starts"), [("nan", 1.0), ("what", 1.0), ("-3", 0.01), ("inf", 1.0)])
def test_a_damaged_multiplier_is_replaced(client: "redis.Redis", market: Market, stored: str, starts: float) -> None:
    client.hset(KEYS.pacing, "budgeted", stored)
    Pacer(client, market, lock_s=5).turn(at(3, 0.5))
    assert multipliers(client)["budgeted"] == starts


def test_of_two_pacers_one_leads_until_it_resigns(client: "redis.Redis", market: Market) -> None:
    first, second = Pacer(client, market, lock_s=60), Pacer(client, market, lock_s=60)
    for _ in range(3):
        first.turn(at(3, 0.5))
        second.turn(at(3, 0.5))
        assert (first.leads, second.leads) == (True, False)
    second.resign()  # not its own to give up
    second.turn(at(3, 0.5))
    assert not second.leads
    first.resign()
    second.turn(at(3, 0.5))
    first.turn(at(3, 0.5))
    assert (first.leads, second.leads) == (False, True)


def test_the_lead_of_a_pacer_that_vanished_expires(client: "redis.Redis", market: Market) -> None:
    vanished, other = Pacer(client, market, lock_s=0.2), Pacer(client, market, lock_s=0.2)
    vanished.turn(at(3, 0.5))
    eventually(lambda: other.turn(at(3, 0.5)) or other.leads)
    vanished.turn(at(3, 0.5))
    assert not vanished.leads


def test_a_turn_sweeps_more_holds_than_one_script_may(client: "redis.Redis", market: Market) -> None:
    pipe = client.pipeline()
    for i in range(1300):
        pipe.hincrby(KEYS.budget("budgeted", 3), "held", 7)
        pipe.hset(KEYS.budget("budgeted", 3), f"h:d{i}", 7)
        pipe.zadd(HOLDS, {hold_member("budgeted", 3, f"d{i}"): at(3, 0.5) - 1})
    pipe.execute()
    Pacer(client, market, lock_s=5).turn(at(3, 0.5))
    assert client.hget(KEYS.budget("budgeted", 3), "held") == "0"
    assert client.zcard(HOLDS) == 0


def test_it_opens_today_and_tomorrow_and_midnight_needs_nobody(client: "redis.Redis", market: Market) -> None:
    pacer = Pacer(client, market, lock_s=5)
    pacer.turn(at(3, 0.5))
    opened = {"limit": "1000000", "from_ms": str(at(4, 0)), "until_ms": str(at(5, 0))}
    assert opened.items() <= client.hgetall(KEYS.budget("budgeted", 4)).items()
    assert client.hget(KEYS.budget("unlimited", 3), "limit") == "none"
    assert client.smembers(KEYS.verified) == {client.info("server")["run_id"]}
    pacer.turn(at(4, 0.0))
    assert client.hget(KEYS.budget("budgeted", 5), "limit") == "1000000"


def test_the_snapshot_says_what_is_left_to_gateways_of_any_market_file(redis_url: str, market: Market) -> None:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        let_in(client, "paced")
        pacer = Pacer(client, market, lock_s=5)
        pacer.turn(at(3, 0.5))
        client.hset(KEYS.budget("budgeted", 3), mapping={"spent": 250_000, "held": 50_000})
        pacer.turn(at(3, 0.5))

    async def read(known: Market) -> list[tuple[int | None, float]]:
        link, clock = RedisLink(redis_url), MoneyClock()
        campaigns = RedisCampaigns(link, KEYS, known, clock)
        assert campaigns.state(at(3, 0.6)).room_micros is None
        await campaigns.refresh()
        state = campaigns.state(clock.now_ms())
        assert state.room_micros is not None
        # Of today, which is not the day of the snapshot, nothing is known.
        assert state.room_micros.tolist()[0] == known.campaigns[0].daily_budget_micros
        campaigns._day, campaigns._written_ms, campaigns._stamp = 3, 0, b""
        await campaigns.refresh()
        await link.close()
        return list(zip(campaigns._room.tolist(), campaigns._multiplier.tolist(), strict=True))

    ours = asyncio.run(read(market))
    assert ours == [(700_000, pytest.approx(0.4966, abs=1e-3)), (UNLIMITED, 1.0)]
    more = market.campaigns[0].model_copy(update={"id": "another", "daily_budget_micros": 5})
    theirs = market.model_copy(update={"campaigns": (more, market.campaigns[0]), "offers": market.offers[:1]})
    assert asyncio.run(read(theirs)) == [(5, 1.0), ours[0]]


Launch = Callable[[str], "subprocess.Popen[bytes]"]


def start(market_file: Path, url: str, log: Path) -> "subprocess.Popen[bytes]":
    settings = {"OFFERRANK_MARKET": str(market_file), "OFFERRANK_REDIS_URL": url, "OFFERRANK_PACER_INTERVAL_S": "0.1"}
    settings["OFFERRANK_LOG_DIR"] = str(begin_archive(market_file.parent / "archive", "paced"))
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "serving.pacer"], env=os.environ | settings, stdout=out, stderr=out
        )


@pytest.fixture
def pacers(market_file: Path, tmp_path: Path) -> Iterator[Launch]:
    """Starts pacer processes on a Redis; whatever still runs afterwards is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def launch(url: str) -> "subprocess.Popen[bytes]":
        started.append(start(market_file, url, tmp_path / f"pacer-{len(started)}.log"))
        return started[-1]

    yield launch
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


def eventually(holds: Callable[[], object], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "did not come about in time"
        time.sleep(0.02)


def expire_one(client: "redis.Redis", decision: str) -> Callable[[], bool]:
    """Leaves an expired hold behind; the result says whether a pacer has given it back."""
    day = budget_day(now_ms(), DAY_S)
    client.hincrby(KEYS.budget("budgeted", day), "held", 5)
    client.hset(KEYS.budget("budgeted", day), f"h:{decision}", 5)
    client.zadd(HOLDS, {hold_member("budgeted", day, decision): now_ms() - 1})
    return lambda: client.zcard(HOLDS) == 0 and int(client.hget(KEYS.budget("budgeted", day), "held")) == 0


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_and_leaves_the_lead_to_others(
    client: "redis.Redis",
    redis_url: str,
    pacers: Launch,
    stop: signal.Signals,
    tmp_path: Path,
) -> None:
    process = pacers(redis_url)
    eventually(lambda: client.exists(KEYS.pacing))
    assert client.pttl(KEYS.pacer_lock) > 0
    process.send_signal(stop)
    assert process.wait(15) == 0
    assert not client.exists(KEYS.pacer_lock)
    log = (tmp_path / "pacer-0.log").read_text()
    assert "stopped" in log
    assert "Traceback" not in log


@pytest.mark.parametrize("crash", [False, True], ids=["stopped", "killed"])
def test_it_outlives_redis(own_redis: EmbeddedRedis, pacers: Launch, crash: bool, tmp_path: Path) -> None:
    process = pacers(own_redis.url)
    log = tmp_path / "pacer-0.log"
    with redis.Redis.from_url(own_redis.url, decode_responses=True) as client:
        eventually(lambda: client.exists(KEYS.pacing))
    (own_redis.kill if crash else own_redis.stop)()
    eventually(lambda: "Redis is away" in log.read_text())
    assert process.poll() is None
    own_redis.start()
    eventually(lambda: "Redis is back" in log.read_text())
    with redis.Redis.from_url(own_redis.url, decode_responses=True) as client:
        eventually(expire_one(client, "after"))
    assert log.read_text().count("Redis is away") == 1  # said once, not every turn
    process.terminate()
    assert process.wait(15) == 0


def test_it_stops_while_redis_is_away(own_redis: EmbeddedRedis, pacers: Launch, tmp_path: Path) -> None:
    own_redis.stop()
    process = pacers(own_redis.url)
    eventually(lambda: "Redis is away" in (tmp_path / "pacer-0.log").read_text())
    process.terminate()
    assert process.wait(15) == 0


def test_when_the_leading_process_is_killed_the_other_takes_over(
    client: "redis.Redis", redis_url: str, pacers: Launch, tmp_path: Path
) -> None:
    first = pacers(redis_url)
    eventually(lambda: client.exists(KEYS.pacer_lock))
    pacers(redis_url)
    leader = client.get(KEYS.pacer_lock)
    eventually(expire_one(client, "before"))
    assert client.get(KEYS.pacer_lock) == leader
    first.kill()
    eventually(lambda: client.get(KEYS.pacer_lock) not in (None, leader))
    eventually(expire_one(client, "after"))
    assert "leading" in (tmp_path / "pacer-1.log").read_text()


def test_a_wrong_market_file_is_one_clear_message(market_file: Path, redis_url: str, tmp_path: Path) -> None:
    market_file.write_text(MARKET.replace('"cpc"', '"cpx"', 1))
    process = start(market_file, redis_url, tmp_path / "log")
    assert process.wait(30) == 1
    assert (tmp_path / "log").read_text().startswith('pacer: campaigns[0 "budgeted"].bid_kind: ')
