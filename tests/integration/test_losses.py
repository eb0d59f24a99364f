"""The whole stack under load, whose Redis loses everything, goes back in time, and loses a budget: no micro too much."""

import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import redis
from shopping import Shoppers

from domain.keys import PARTITIONS, Keys
from features.log_archive import EVENTS, StreamId, archived, read_log
from features.log_schema import event_schema
from offerrank.processes import Supervisor
from offerrank.stack import Plan, Stack
from serving.ledger.reconcile import reconcile_now
from store.key_records import Role

# A click costs at least the reserve, 50_000 / (1000 x 0.1) = 500: the tight campaign can pay for 20 at most, fewer than are made.
MARKET = """
name = "losses"
currency = "EUR"
placements = [{ name = "main", count = 3 }]
features = [{ name = "offer_id", source = "offer", default = "" }, { name = "country", source = "shopper", default = "" }]
tasks = [{ name = "ctr", label = "click" }]
policy = { id = "p", priors = { ctr = 0.1 }, explored_bid_share = 0, reserve_ecpm_micros = 50_000, hold_ttl_s = 8 }
campaigns = [
  { id = "tight", advertiser = "a", bid_kind = "cpc", bid_micros = 90_000, daily_budget_micros = 10_000 },
  { id = "ample", advertiser = "b", bid_kind = "cpc", bid_micros = 50_000, daily_budget_micros = 900_000_000 },
  { id = "house", advertiser = "c", bid_kind = "cpc", bid_micros = 20_000 },
]
offers = [
  { id = "o1", campaign = "tight", title = "One", landing_url = "https://one.example" },
  { id = "o2", campaign = "ample", title = "Two", landing_url = "https://two.example" },
  { id = "o3", campaign = "house", title = "Three", landing_url = "https://three.example" },
]
"""


class Run:
    """A stack under load."""

    def __init__(self, stack: Stack, supervisor: Supervisor, shoppers: Shoppers) -> None:
        self.stack, self.supervisor, self.shoppers = stack, supervisor, shoppers
        self.keys = Keys(stack.market.name)

    def wait(self, done: Callable[[], object], otherwise: str) -> None:
        deadline = time.monotonic() + 60
        while not done():
            assert time.monotonic() < deadline, otherwise
            self.supervisor.poll()
            time.sleep(0.05)

    def sell(self, clicks: int = 20) -> None:
        """Lets so many more clicks be charged to the ample budget: it was open again after whatever was lost before."""
        enough = self.charged() + clicks
        self.wait(lambda: self.charged() >= enough, "no more clicks are charged to a budget")

    def charged(self) -> int:
        self.shoppers.check()
        results = list(self.shoppers.accepted.values())
        return sum(1 for result in results if result["offer_id"] == "o2" and result["charged_micros"])

    def kill_redis(self, then: Callable[[Path], object]) -> None:
        """Kills it, does something to its files, and lets it be started again."""
        os.kill(self.supervisor.pids()["redis"], signal.SIGKILL)
        time.sleep(0.1)
        then(self.stack.redis.directory)
        self.wait(lambda: "redis" in self.supervisor.pids(), "Redis was not started again")

    def client(self) -> "redis.Redis":
        return redis.Redis.from_url(self.stack.redis.url, decode_responses=True)

    def spent(self, campaign: str) -> int:
        """Micros charged to it over all its days, as Redis knows it."""
        with self.client() as client:
            return sum(int(client.hget(key, "spent") or 0) for key in client.scan_iter(match=f"*:budget:{campaign}:*"))

    def archived(self) -> bool:
        done = archived(self.stack.plan.log_dir, EVENTS)
        with self.client() as client:
            ends = {
                p: client.xinfo_stream(key)["last-generated-id"]
                for p in range(PARTITIONS)
                if client.exists(key := self.keys.events(p))
            }
        return all(done.to(p) == StreamId.parse(end) for p, end in ends.items())


def test_no_loss_of_redis_overspends_a_budget_or_charges_an_impression_twice(tmp_path: Path) -> None:
    path = tmp_path / "market.toml"
    path.write_text(MARKET)
    with Supervisor(tmp_path / "run", lambda _: None) as supervisor:
        settings = {"OFFERRANK_ARCHIVE_INTERVAL_S": "1", "OFFERRANK_RECONCILE_INTERVAL_S": "1"}
        stack = Stack(Plan.of(path, tmp_path / "run"), supervisor, settings)
        stack.start_serving()
        stack.start_writers()
        run = Run(stack, supervisor, Shoppers(stack.plan.gateway_url, stack.keys[Role.SERVER]))
        with run.shoppers.shopping(3):
            run.sell()
            run.kill_redis(lambda files: [left.unlink() for left in files.glob("*.aof")])
            run.sell()
            shutil.copytree(stack.redis.directory, tmp_path / "older")
            run.sell()
            run.kill_redis(lambda files: shutil.rmtree(files) or shutil.copytree(tmp_path / "older", files))
            run.sell()
            with run.client() as client:
                client.delete(*client.scan_iter(match="*:budget:tight:*"))
                run.wait(lambda: any(client.hget(k, "limit") for k in client.scan_iter(match="*:budget:tight:*")), "closed")
            run.sell()
            run.wait(lambda: run.spent("tight") >= 8_000, "what is left of a lost budget is not used")
        run.wait(run.archived, "the archiver does not catch up")
        with run.client() as client:
            found = reconcile_now(client, stack.market, stack.plan.log_dir)
    events = read_log(stack.plan.log_dir, EVENTS, event_schema()).to_pylist()
    assert found.differences == ()
    charged = Counter[tuple[str, int]]()
    for e in events:
        charged[e["campaign_id"], e["day"]] += e["charged_micros"]
    limits = {c.id: c.daily_budget_micros for c in stack.market.campaigns}
    assert [at for at, micros in charged.items() if micros > (limits[at[0]] or micros)] == []
    times = Counter(e["impression_id"] for e in events if e["charged_micros"])
    assert max(times.values()) == 1
