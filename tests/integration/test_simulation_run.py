"""Simulated shoppers against a real gateway and Redis."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
import redis
from open_market import open_market

from domain.keys import PARTITIONS, Keys
from features.market import Market
from offerrank.processes import Supervisor
from offerrank.stack import Plan, Stack
from simulation.client import GatewayClient
from simulation.run import Simulation
from simulation.tally import Tally
from store.key_records import Role

MARKET = Path(__file__).parents[2] / "examples" / "confirmation" / "market.toml"


@dataclass(frozen=True)
class Running:
    """A gateway that serves."""

    url: str
    key: str
    redis_url: str
    market: Market


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    run_dir = tmp_path_factory.mktemp("run")
    plan = Plan.of(MARKET, run_dir, port=18_080, monitor_port=18_180)
    with Supervisor(run_dir, print) as supervisor:
        stack = Stack(plan, supervisor)
        stack.start_serving()
        open_market(stack.redis.url, stack.market)
        yield Running(plan.gateway_url, stack.keys[Role.SERVER], stack.redis.url, stack.market)


def simulate(running: Running, seed: int, seconds: float, per_second: float = 15) -> Simulation:
    simulation = Simulation(running.market, running.url, running.key, seed, per_second)

    async def run() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(seconds, stop.set)
        await simulation.run(stop)

    asyncio.run(run())
    return simulation


def test_shoppers_see_offers_click_buy_and_are_charged_for(running: Running) -> None:
    with redis.Redis.from_url(running.redis_url) as client:
        client.flushall()
        open_market(running.redis_url, running.market)
        simulation = simulate(running, seed=7, seconds=6)
        tally = simulation.tally
        assert simulation.errors == 0, simulation.client.failures
        assert tally.requests > 50
        assert tally.fill_rate == 1
        full = 3 * tally.requests  # 13 advertisers, 3 slots, no budget gone; less where a busy machine degraded a page
        assert full - 3 * tally.before.degraded.total() <= tally.before.impressions <= full
        assert tally.after.requests == 0
        assert tally.releases == ["cold-start"]
        assert tally.clicks > 0
        keys = Keys(running.market.name)
        events = [fields for p in range(PARTITIONS) for _, fields in client.xrange(keys.events(p))]
        logged = {
            kind: [e for e in events if e[b"type"] == kind.encode()] for kind in ("impression", "click", "conversion", "dismiss")
        }
        assert len(logged["impression"]) == tally.before.impressions
        assert len(logged["click"]) == tally.clicks
        assert len(logged["conversion"]) == tally.conversions
        assert logged["dismiss"]
        # What the simulator takes for charged is what the ledger says, to the micro.
        assert sum(int(e[b"charged_micros"]) for e in events) == tally.revenue_micros > 0


def test_the_truth_agrees_with_what_happened(running: Running) -> None:
    tally = simulate(running, seed=3, seconds=8, per_second=30).tally
    before = tally.before
    # Clicks are drawn from the very probabilities that are summed: within four standard deviations.
    spread = 4 * before.shown.clicks**0.5
    assert before.clicks == pytest.approx(before.shown.clicks, abs=spread)
    assert before.best.clicks > 1.5 * before.shown.clicks
    assert before.best.revenue_micros > 2 * before.shown.revenue_micros


def test_one_seed_meets_the_same_purchases_whatever_the_network_does(running: Running) -> None:
    def purchases(rate: float) -> list[dict[str, object]]:
        simulation = Simulation(running.market, running.url, running.key, 5, rate)
        return [simulation.shoppers.purchase(i, 0).context | simulation.shoppers.purchase(i, 0).shopper for i in range(30)]

    assert purchases(5) == purchases(50)


def test_a_gateway_that_is_away_is_counted_and_does_not_stop_the_shoppers(running: Running) -> None:
    nowhere = Running("http://127.0.0.1:9", running.key, running.redis_url, running.market)
    simulation = simulate(nowhere, seed=1, seconds=2)
    assert simulation.tally.requests == 0
    assert simulation.errors > 5
    assert set(simulation.client.failures) == {"decision ClientConnectorError"}


def test_an_empty_answer_is_no_visit(running: Running) -> None:
    async def decide() -> Tally:
        tally = Tally()
        async with GatewayClient(running.url, running.key) as client:
            floor = {"name": "main", "count": 3, "floor_ecpm_micros": 10**12}
            answer = await client.decide({"placements": [floor], "include_pricing": True})
        assert answer is not None
        assert answer.shown == ()
        return tally

    assert asyncio.run(decide()).requests == 0


def test_the_command_says_what_came_of_it(running: Running) -> None:
    arguments = ["simulate", "--market", str(MARKET), "--gateway-url", running.url, "--key", running.key]
    arguments += ["--seconds", "3", "--rate", "10", "--json"]
    done = subprocess.run([sys.executable, "-m", "offerrank", *arguments], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    summary = orjson.loads(done.stdout)
    assert summary["requests"] > 5
    assert summary["errors"] == 0
    assert summary["before"]["expected_ctr"] > 0


def test_ctrl_c_ends_the_command_with_its_summary(running: Running) -> None:
    arguments = ["simulate", "--market", str(MARKET), "--gateway-url", running.url, "--key", running.key, "--rate", "10"]
    with subprocess.Popen([sys.executable, "-u", "-m", "offerrank", *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()  # what it says after its first seconds
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert int(out.splitlines()[-1].split()[0]) > 0
