"""Pages that are asked for and never shown: what they keep from those that are."""

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx

from benchmarks.adversary.market import Spec, market_toml
from benchmarks.adversary.row import Row
from benchmarks.adversary.running import ORIGIN, PAGE, offers, running
from store.key_records import Role

PER_SECOND = 25


def cases(folder: Path, *, short: bool) -> Iterator[Row]:
    """Ten budgets and nobody else; one publisher's key asks 25 times a second and shows nothing, a shop sells beside it."""
    ten = [Spec(f"budget-{i}", 500_000, budget_micros=20_000_000) for i in range(10)]
    pages = 40 if short else 150
    with running(folder, market_toml(ten)) as case:
        stop, answered = threading.Event(), Counter[int]()
        drain = threading.Thread(
            target=_drain, args=(case.stack.plan.gateway_url, case.stack.keys[Role.PUBLISHER], stop, answered)
        )
        drain.start()
        try:
            stop.wait(5 if short else 30)
            sold = 0
            for number in range(pages):
                page = offers(case.page(shopper={"key": f"shopper-{number}"}))
                sold += len(page)
                case.report(*({"type": "impression", "token": o["token"]} for o in page))
                case.report({"type": "dismiss", "tokens": [o["token"] for o in page]})
        finally:
            stop.set()
            drain.join()
        held = sum(int(case.raw.hget(name, "held") or 0) for name in case.raw.scan_iter(match="or:{*}:budget:*"))
        yield Row(
            "pages asked for and never shown, 25 a second",
            ok=sold >= 0.99 * 3 * pages and case.over_micros() == 0 and answered[200] > 0,
            sellable=3 * pages,
            sold=sold,
            said=f"{answered[200]} answered, {answered[429]} refused; {held / 1e6:.2f} of 200.00 held at the end",
        )


def _drain(url: str, key: str, stop: threading.Event, answered: Counter[int]) -> None:
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}", **ORIGIN}, timeout=5) as http:
        while not stop.wait(1 / PER_SECOND):
            answered[http.post("/v1/decisions", json=PAGE).status_code] += 1
