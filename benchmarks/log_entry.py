"""`python -m benchmarks.log_entry`: what logging a decision costs, on the market of `make bench`, in bytes and CPU time.

Decisions of 100 candidates and three slots, made in memory by the request path itself with random predictions.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson

from benchmarks.bench_release import SEED, bench_market
from domain.events import Decision
from domain.luck import Luck
from domain.request import DecisionRequest, Placement
from features.log_archive import StreamId
from features.log_entry import DEFLATED, PLAIN, deflated
from features.market import Market
from models.calibration import Calibrator, TaskCalibration
from serving.archiver.rows import Entry, log_formats
from serving.gateway.adapters.memory import (
    MemoryBudgets,
    MemoryCampaigns,
    MemoryCaps,
    MemoryModel,
    MemoryReleases,
    MemoryShoppers,
)
from serving.gateway.decide import Decided, decide
from serving.gateway.market_view import MarketView
from serving.gateway.ports import Ports
from serving.gateway.record import to_decision
from simulation.shoppers import Shoppers

N_OFFERS, N_DECISIONS, REPEATS = 10_000, 400, 5
WAYS: tuple[tuple[str, float | None, Callable[[Decision], dict[bytes, bytes]]], ...] = (
    ("all candidates, JSON", 1.0, lambda made: {PLAIN: orjson.dumps(made)}),
    ("all candidates, deflated", 1.0, lambda made: {DEFLATED: deflated(made)}),
    ("winners and counts, JSON", 0.0, lambda made: {PLAIN: orjson.dumps(made)}),
    ("winners and counts, deflated", 0.0, lambda made: {DEFLATED: deflated(made)}),
    ("as the default policy says", None, lambda made: {DEFLATED: deflated(made)}),
)
"""Name, `policy.log_candidates` (None for the policy as it is), and how a decision becomes an entry."""


def main() -> None:
    """Prints a line per way to log; `us` is CPU time per decision, the least of several runs."""
    _, market = bench_market(N_OFFERS)
    print(f"{'':34}{'bytes':>11}{'record us':>11}{'encode us':>11}{'archive us':>11}")
    for name, share, encode in WAYS:
        print(f"{name:34}" + "".join(f"{value:>11,.0f}" for value in measure(market, share, encode, N_DECISIONS)))


def measure(
    market: Market, share: float | None, encode: Callable[[Decision], dict[bytes, bytes]], n_decisions: int
) -> tuple[float, float, float, float]:
    """Bytes of an entry, and microseconds to record, to encode and to archive a decision."""
    policy = market.policy if share is None else market.policy.model_copy(update={"log_candidates": share, "epsilon": 0.0})
    market = market.model_copy(update={"policy": policy})
    view, rng = MarketView.of(market), np.random.default_rng(SEED)
    decided = asyncio.run(_decided(view, rng, n_decisions))
    made = [to_decision(one, view, rng) for one in decided]
    entries = [Entry(StreamId(1, i), encode(one)) for i, one in enumerate(made)]
    _, log = log_formats(market)

    def us(work: Callable[[], Any]) -> float:
        took = []
        for _ in range(REPEATS):
            begun = time.process_time()
            work()
            took.append((time.process_time() - begun) / n_decisions * 1e6)
        return min(took)

    return (
        sum(len(value) for entry in entries for value in entry.fields.values()) / n_decisions,
        us(lambda: [to_decision(one, view, rng) for one in decided]),
        us(lambda: [encode(one) for one in made]),
        us(lambda: log.table(entries)),
    )


async def _decided(view: MarketView, rng: np.random.Generator, n: int) -> list[Decided]:
    market, shoppers = view.market, Shoppers(view.market, SEED)
    any_offer_feature = next(iter(view.columns.columns))
    calibrator = Calibrator(tasks={task: TaskCalibration() for task in view.task_names})
    model = MemoryModel(
        lambda _, inputs: {
            task: rng.beta(2, 40, len(inputs[any_offer_feature])).astype(np.float32) for task in market.policy.priors
        }
    )
    releases = MemoryReleases.of(view, 1_700_000_000, calibrator)
    known = MemoryShoppers()
    ports = Ports(known, MemoryCampaigns(market), MemoryBudgets(market), MemoryCaps(known), releases, model)
    placements = tuple(Placement(p.name, p.count, 0) for p in market.placements)
    out = []
    for i in range(n):
        purchase = shoppers.purchase(i, 40 * i)
        features = view.request_defaults | purchase.shopper | purchase.context
        request = DecisionRequest(f"{int(rng.integers(1 << 62)):024x}", f"shopper-{i}", features, placements, False, False)
        out.append(await decide(request, view, ports, Luck.draw(rng), 1_800_000_000_000 + 10 * i))
    return out


if __name__ == "__main__":
    main()
