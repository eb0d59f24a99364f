"""Forged and repeated use: clicks of one client, events without what they need, one order many times, twenty tabs."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from benchmarks.adversary.market import Spec, market_toml
from benchmarks.adversary.row import Row
from benchmarks.adversary.running import ORIGIN, PAGE, Running, offers, running, seen_and_clicked
from store.key_records import Role

BROWSER = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"}


def cases(folder: Path, *, short: bool) -> Iterator[Row]:
    """On one running market, each with campaigns of its own."""
    campaigns = [
        *(Spec(f"prey-{i}", 500_000, budget_micros=10_000_000) for i in range(3)),
        Spec("sale", 9_000_000, budget_micros=90_000_000, bid_kind="cpa"),
        Spec("capped", 90_000_000, bid_kind="cpm", frequency_cap=2),
    ]
    with running(folder, market_toml(campaigns), {"OFFERRANK_ADDRESS_PER_SECOND": "0"}) as case:
        yield _one_client(case, 100 if short else 400)
        yield _conversions_without_clicks(case)
        yield _one_order(case)
        yield _tabs(case)


def _one_client(case: Running, pages: int) -> Row:
    """A publisher's key and one shopper key, who clicks everything at once."""
    url, key = case.stack.plan.gateway_url, case.stack.keys[Role.PUBLISHER]
    charged, sent, reasons = 0, 0, Counter[str]()
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}", **ORIGIN, **BROWSER}, timeout=5) as http:
        for _ in range(pages):
            page = offers(http.post("/v1/decisions", json=PAGE | {"shopper": {"key": "one-client"}}).json())
            for offer in (o for o in page if o["campaign_id"].startswith("prey")):
                sent += 1
                results = http.post("/v1/events", json={"events": list(seen_and_clicked(offer["token"]))}).json()["results"]
                charged += results[1]["charged_micros"]
                reasons[results[1]["status"]] += 1
    return Row(
        "one client clicks everything",
        ok=charged <= 0.1 * 30_000_000 and reasons["invalid"] > 0.9 * sent,
        budget_micros=30_000_000,
        charged_micros=charged,
        said=f"{reasons['invalid']} of {sent} clicks marked invalid",
    )


def _sale(case: Running, shopper: str) -> dict[str, Any]:
    page = offers(case.page(shopper={"key": shopper}, placements=[{"name": "main", "count": 3}]))
    return next(o for o in page if o["campaign_id"] == "sale")


def _conversions_without_clicks(case: Running) -> Row:
    tokens = [_sale(case, f"walker-{i}")["token"] for i in range(20)]
    results = case.report(*({"type": "conversion", "token": t} for t in tokens))
    charged = sum(r["charged_micros"] for r in results)
    statuses = {r["status"] for r in results}
    return Row(
        "20 conversions without a click",
        ok=charged == 0 and statuses == {"pending"},
        charged_micros=charged,
        said=str(sorted(statuses)),
    )


def _one_order(case: Running) -> Row:
    """A shop that reports one order for every token its shopper ever had."""
    shown = [_sale(case, "buyer") for _ in range(5)]
    for offer in shown:
        case.report(*seen_and_clicked(offer["token"]))
    results = case.report(*({"type": "conversion", "token": o["token"], "order_id": "4711"} for o in shown for _ in range(2)))
    charged = [r["charged_micros"] for r in results if r["charged_micros"]]
    return Row(
        "one order for five clicks, twice", ok=len(charged) == 1, charged_micros=sum(charged), doubled=max(len(charged) - 1, 0)
    )


def _tabs(case: Running) -> Row:
    """Twenty tabs of one shopper at the same time, and a cap of two."""
    with ThreadPoolExecutor(20) as tabs:
        pages = list(tabs.map(lambda _: offers(case.page(shopper={"key": "tabs"})), range(20)))
    shown = sum(o["campaign_id"] == "capped" for page in pages for o in page)
    return Row("twenty tabs, a cap of two", ok=shown == 2, sellable=2, sold=shown)
