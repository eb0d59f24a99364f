"""Kill -9 on any process loses no settled click and overspends no budget: the whole stack under load, killed part by part."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis
from shopping import Shoppers

from domain.keys import PARTITIONS, Keys
from features.log_archive import EVENTS, StreamId, archived, read_log
from features.log_schema import event_schema
from features.market import Market
from offerrank.processes import Supervisor
from offerrank.stack import Plan, Stack
from serving.ledger.reconcile import reconcile_now
from store.key_records import Role

# Explored slots cost the reserve, 50_000 / (1000 * 0.1) = 500 a click, which the binding campaign bids even when paced to the
# minimum: it can pay for 40 clicks in each of its days of 20 s, far fewer than are made, and only the hold stops it.
MARKET = """
name = "crashes"
currency = "EUR"
placements = [{ name = "main", count = 3 }]
features = [{ name = "offer_id", source = "offer", default = "" }]
tasks = [{ name = "ctr", label = "click" }]
policy = {id = "p", priors = {ctr = 0.1}, explored_bid_share = 0, reserve_ecpm_micros = 50_000, hold_ttl_s = 8, day_length_s = 20}
campaigns = [
  { id = "binding", advertiser = "a", bid_kind = "cpc", bid_micros = 90_000, daily_budget_micros = 20_000 },
  { id = "ample", advertiser = "b", bid_kind = "cpc", bid_micros = 50_000, daily_budget_micros = 900_000_000 },
  { id = "house", advertiser = "c", bid_kind = "cpc", bid_micros = 20_000 },
]
offers = [
  { id = "o1", campaign = "binding", title = "One", landing_url = "https://one.example" },
  { id = "o2", campaign = "ample", title = "Two", landing_url = "https://two.example" },
  { id = "o3", campaign = "house", title = "Three", landing_url = "https://three.example" },
]
"""
VICTIMS = ("gateway", "redis", "archiver", "pacer", "redis", "gateway", "archiver", "monitor")
ACCEPTED = {"settled", "late_settled", "late_free", "duplicate"}


def test_kill_9_on_any_process_loses_no_settled_click_and_overspends_nothing(tmp_path: Path) -> None:
    path = tmp_path / "market.toml"
    path.write_text(MARKET)
    said: list[str] = []
    with Supervisor(tmp_path / "run", said.append) as supervisor:
        stack = Stack(Plan.of(path, tmp_path / "run"), supervisor, {"OFFERRANK_ARCHIVE_INTERVAL_S": "1"})
        stack.start_serving()
        stack.start_others()
        shoppers = Shoppers(stack.plan.gateway_url, stack.keys[Role.SERVER])
        with shoppers.shopping(4):
            _sell(supervisor, shoppers)
            for victim in VICTIMS:
                os.kill(_pid(supervisor, victim), signal.SIGKILL)
                _sell(supervisor, shoppers)
        _live(supervisor, 3.0)
        assert len(said) >= len(VICTIMS)  # each death was noticed
        with redis.Redis.from_url(stack.redis.url) as client:
            _nothing_is_overspent(client, stack.market)
            assert reconcile_now(client, stack.market, stack.plan.log_dir).differences == ()
            # The archiver that follows a killed one waits until the dead one's lock has expired.
            _wait(supervisor, lambda: _archived(client, stack), "the archiver does not catch up")
    _every_accepted_click_is_logged_once(shoppers.accepted, stack.plan.log_dir)


def _sell(supervisor: Supervisor, shoppers: Shoppers) -> None:
    """Lets another 60 clicks be accepted."""
    enough = len(shoppers.accepted) + 60

    def done() -> bool:
        shoppers.check()
        return len(shoppers.accepted) >= enough

    _wait(supervisor, done, "no more clicks are accepted")


def _pid(supervisor: Supervisor, name: str) -> int:
    """Process id of a child, once it is up again."""
    _wait(supervisor, lambda: name in supervisor.pids(), f"{name} was not started again")
    return supervisor.pids()[name]


def _wait(supervisor: Supervisor, done: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline, otherwise
        _live(supervisor, 0.05)


def _archived(client: "redis.Redis", stack: Stack) -> bool:
    keys, done = Keys(stack.market.name), archived(stack.plan.log_dir, EVENTS)
    used = [p for p in range(PARTITIONS) if client.exists(keys.events(p))]
    return all(done.to(p) == StreamId.parse(client.xinfo_stream(keys.events(p))["last-generated-id"]) for p in used)


def _live(supervisor: Supervisor, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        supervisor.poll()
        time.sleep(0.05)


def _nothing_is_overspent(client: "redis.Redis", market: Market) -> None:
    spent: Counter[str] = Counter()
    for key in client.scan_iter(match="or:{*}:budget:*"):
        campaign = market.campaign_by_id[key.decode().rsplit(":", 2)[1]]
        budget = {name: int(client.hget(key, name) or 0) for name in ("spent", "held")}
        assert budget.get("held", 0) >= 0
        if campaign.daily_budget_micros is not None:
            assert budget.get("spent", 0) + budget.get("held", 0) <= campaign.daily_budget_micros
        spent[campaign.id] += budget.get("spent", 0)
    # Not vacuously: all were charged, the binding one for most of a day's budget at least.
    assert spent["binding"] >= 15_000
    assert spent["ample"] > 0
    assert spent["house"] > 0


def _every_accepted_click_is_logged_once(accepted: dict[str, dict[str, Any]], log_dir: Path) -> None:
    logged = read_log(log_dir, EVENTS, event_schema()).to_pylist()
    clicks = Counter(e["impression_id"] for e in logged if e["type"] == "click")
    charged = {e["impression_id"]: e["charged_micros"] for e in logged if e["type"] == "click"}
    assert {r["status"] for r in accepted.values()} <= ACCEPTED
    assert [i for i in accepted if clicks[i] != 1] == []
    assert [i for i, r in accepted.items() if r["status"] != "duplicate" and charged[i] != r["charged_micros"]] == []
    assert max(clicks.values()) == 1
