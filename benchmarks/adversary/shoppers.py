"""Shoppers who see and click whatever they are shown while something is done to the processes behind their pages."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import numpy as np

from benchmarks.adversary.running import PAGE, Running, offers, seen_and_clicked
from features.log_archive import EVENTS, read_log
from features.log_schema import event_schema
from store.key_records import Role

PAUSE_S = 0.01
AGAIN_S = 0.1
ARRIVAL_S = 20.0
TRIES = 100
"""How often a page sends its events until it has an answer, as the API promises is safe."""


@dataclass(frozen=True, slots=True)
class Page:
    """One decision, as its page saw it."""

    asked_s: float
    """On the monotonic clock."""
    took_s: float
    slots: int
    ranked: bool
    """By a release, without a fallback."""


@dataclass(slots=True)
class Shoppers:
    """What they were shown, and what they were told was accepted."""

    url: str
    key: str
    pages: list[Page] = field(default_factory=list)
    clicked: set[str] = field(default_factory=set)
    """Impressions whose click was acknowledged."""
    stop: threading.Event = field(default_factory=threading.Event)

    def shop(self) -> None:
        """Until told to stop."""
        with httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {self.key}"}, timeout=5.0) as http:
            while not self.stop.wait(PAUSE_S):
                began = time.monotonic()
                try:
                    answer = http.post("/v1/decisions", json=PAGE)
                except httpx.HTTPError:
                    continue
                if answer.status_code == 200:
                    page = answer.json()
                    shown = offers(page)
                    ranked = page["release"] != "cold-start" and not page["degraded"]
                    self.pages.append(Page(began, time.monotonic() - began, len(shown), ranked))
                    for offer in shown:
                        self._click(http, offer["impression_id"], offer["token"])

    def _click(self, http: httpx.Client, impression_id: str, token: str) -> None:
        for _ in range(TRIES):
            try:
                if http.post("/v1/events", json={"events": seen_and_clicked(token)}).status_code == 200:
                    self.clicked.add(impression_id)
                    return
            except httpx.HTTPError:
                pass
            time.sleep(AGAIN_S)

    def between(self, from_s: float, to_s: float) -> list[Page]:
        """Pages that were asked for in that time."""
        return [p for p in list(self.pages) if from_s <= p.asked_s < to_s]


def p50_ms(pages: list[Page]) -> float:
    """Of how long decisions took; NaN if there were none."""
    return 1000 * float(np.median([p.took_s for p in pages])) if pages else float("nan")


@contextmanager
def shopping(case: Running, count: int = 2) -> Iterator[Shoppers]:
    """So many of them at a time; they finish what they have begun."""
    shoppers = Shoppers(case.stack.plan.gateway_url, case.stack.keys[Role.SERVER])
    with ThreadPoolExecutor(count) as pool:
        running = [pool.submit(shoppers.shop) for _ in range(count)]
        try:
            yield shoppers
        finally:
            shoppers.stop.set()
        for one in running:
            one.result()


def arrived(case: Running, clicked: set[str]) -> tuple[int, int]:
    """Acknowledged clicks that are not in the archive after a while, and how many clicks are there once more than they should."""
    deadline = time.monotonic() + ARRIVAL_S
    while True:
        events = read_log(case.stack.plan.log_dir, EVENTS, event_schema()).to_pylist()
        times = Counter(e["impression_id"] for e in events if e["type"] == "click")
        lost = len(clicked - times.keys())
        if not lost or time.monotonic() > deadline:
            return lost, sum(n - 1 for n in times.values())
        time.sleep(0.25)
