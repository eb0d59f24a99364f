"""`python -m benchmarks.ledger`: how fast the books are kept and compared, and for how long a Redis that lost all stays closed.

--campaigns N   campaigns with a budget   --clicks N   charged clicks, each after its impression, over the last 6 days
"""

import argparse
import tempfile
import time
import tomllib
from collections import Counter
from pathlib import Path

import pyarrow as pa
import redis

from domain.keys import Keys, partition_of
from features.log_archive import EVENTS, Archived, StreamId
from features.log_schema import event_schema
from features.market import Market, parse_market
from serving.archiver.files import write_part
from serving.embedded_redis import EmbeddedRedis
from serving.ledger.archive import parts_since
from serving.ledger.keeper import LedgerKeeper
from serving.ledger.reconcile import reconcile_now
from serving.repair.repair import Repair
from serving.repair.servers import run_ids, verify

DAYS, PRICE = 6, 1_000
DAY_MS = 86_400_000


def main() -> None:
    """Prints a line per figure."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--campaigns", type=int, default=1_000)
    asked.add_argument("--clicks", type=int, default=100_000)
    arguments = asked.parse_args()
    for name, value in measure(arguments.campaigns, arguments.clicks).items():
        print(f"{name:58}{value:>12,.2f}")


def measure(n_campaigns: int, n_clicks: int, parts_a_day: int = 96) -> dict[str, float]:
    """Figure -> value."""
    found: dict[str, float] = {}
    market = _market(n_campaigns)
    with tempfile.TemporaryDirectory() as folder:
        server, log_dir = EmbeddedRedis(Path(folder) / "redis").start(), Path(folder) / "log"
        try:
            with redis.Redis.from_url(server.url, decode_responses=True) as client:
                verify(client, Keys(market.name), run_ids(client))
                _archive(market, log_dir, n_clicks, parts_a_day, int(time.time() * 1000))
                (log_dir / "archiver.lock").write_text(f'{{"market": "{market.name}"}}')
                began = time.process_time()
                entries = sum(len(some) for _, some in parts_since(log_dir, 0))
                found["charges read from the archive, per s of CPU"] = entries / (time.process_time() - began)
                keeper = LedgerKeeper(client, market, log_dir)
                began = time.process_time()
                posted = keeper.catch_up()
                found["charges posted, per s of CPU, reading included"] = posted / (time.process_time() - began)
                found["books, bytes per charge"] = (log_dir / "ledger.sqlite").stat().st_size / posted
                client.flushall()
                began = time.process_time()
                done = Repair(client, market, log_dir).run()
                found["repair of an empty Redis: s of CPU"] = time.process_time() - began
                found["repair of an empty Redis: events remembered"] = done.entries
                found["repair of an empty Redis: budgets opened"] = done.budgets
                found["repair of an empty Redis: seconds until it sells"] = done.seconds
                verify(client, Keys(market.name), ["a server before"])
                done = Repair(client, market, log_dir).run()
                found["repair of an intact Redis: seconds until it sells"] = done.seconds
                began = time.perf_counter()
                keeper.reconcile()
                found["reconciliation of a minute, s"] = time.perf_counter() - began
                began = time.perf_counter()
                assert not reconcile_now(client, market, log_dir).differences
                found["reconciliation of everything, s"] = time.perf_counter() - began
                keeper.close()
        finally:
            server.kill()
    return found


def _market(n_campaigns: int) -> Market:
    campaigns = [
        {"id": f"c{i}", "advertiser": f"a{i}", "bid_kind": "cpc", "bid_micros": 500_000, "daily_budget_micros": 10**9}
        for i in range(n_campaigns)
    ]
    return parse_market(
        tomllib.loads(
            'name = "bench"\ncurrency = "EUR"\nplacements = [{ name = "main", count = 3 }]\n'
            'features = [{ name = "offer_id", source = "offer", default = "" }]\ntasks = [{ name = "ctr", label = "click" }]\n'
            'policy = { id = "p", priors = { ctr = 0.1 } }\n'
        )
        | {
            "campaigns": campaigns,
            "offers": [
                {"id": f"o{i}", "campaign": f"c{i}", "title": "t", "landing_url": "https://a.example"} for i in range(n_campaigns)
            ],
        }
    )


def _archive(market: Market, log_dir: Path, n_clicks: int, parts_a_day: int, now_ms: int) -> None:
    """An impression and a charged click each, spread evenly over the last days and the campaigns, in as many parts a day."""
    n_parts, schema = DAYS * parts_a_day, event_schema()
    begin_ms, last = now_ms - DAYS * DAY_MS, dict[int, StreamId]()
    seq: Counter[tuple[int, int]] = Counter()
    for number in range(n_parts):
        rows = []
        for i in range(number * n_clicks // n_parts, (number + 1) * n_clicks // n_parts):
            ms = begin_ms + DAYS * DAY_MS * i // n_clicks
            campaign = f"c{i % len(market.campaigns)}"
            partition = partition_of(campaign)
            for kind in ("impression", "click"):
                seq[partition, ms] += 1
                billed = kind == "click"
                row = dict.fromkeys(schema.names) | {
                    "stream_id": f"{ms}-{seq[partition, ms]}",
                    "partition": partition,
                    "event_id": f"{i}-0.{kind}",
                    "type": kind,
                    "status": "settled" if billed else "logged",
                    "charged_micros": PRICE * billed,
                    "price_micros": PRICE * billed,
                    "impression_id": f"{i:032x}-0",
                    "decision_id": f"{i:032x}",
                    "offer_id": f"o{i % len(market.campaigns)}",
                    "campaign_id": campaign,
                    "advertiser": f"a{i % len(market.campaigns)}",
                    "shopper_key": f"{i:032x}",
                    "time_ms": ms,
                    "day": ms // DAY_MS,
                }
                rows.append(row)
            last[partition] = StreamId(ms, seq[partition, ms])
        if rows:
            times = [StreamId.parse(str(row["stream_id"])) for row in rows]
            to = Archived(number + 1, dict(last), times[-1].ms)
            write_part(log_dir, EVENTS, pa.Table.from_pylist(rows, schema), [], times[0], times[-1], to)


if __name__ == "__main__":
    main()
