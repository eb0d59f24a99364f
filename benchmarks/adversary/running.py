"""A whole OfferRank on free ports, as `offerrank serve` runs it, for adversaries to meet."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import redis

from domain.keys import PARTITIONS, Keys
from offerrank.processes import Supervisor
from offerrank.stack import Plan, Stack
from serving.ledger.reconcile import reconcile_now
from store.key_records import Role
from store.ports import free_port

POLL_S = 0.1
PATIENCE_S = 60.0
PAGE = {"placements": [{"name": "main"}]}
ORIGIN = {"origin": "http://localhost:8000"}
"""A page on this machine, which the publisher's key of `offerrank serve` is for."""
SETTINGS = {"OFFERRANK_ARCHIVE_INTERVAL_S": "1", "OFFERRANK_PACER_INTERVAL_S": "0.5"}


@dataclass(slots=True)
class Running:
    """What a case talks to."""

    stack: Stack
    supervisor: Supervisor
    raw: "redis.Redis"
    """Decodes replies."""
    http: httpx.Client
    """With a server's key."""

    @property
    def keys(self) -> Keys:
        """Of the market."""
        return Keys(self.stack.market.name)

    def page(self, **body: Any) -> dict[str, Any]:
        """A decision, or `{}` where there was none."""
        with contextlib.suppress(httpx.HTTPError):
            answer = self.http.post("/v1/decisions", json=PAGE | body)
            if answer.status_code == 200:
                return dict(answer.json())
        return {}

    def report(self, *events: dict[str, Any], key: str | None = None) -> list[dict[str, Any]]:
        """What became of events; nothing where they were not taken."""
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        with contextlib.suppress(httpx.HTTPError):
            answer = self.http.post("/v1/events", json={"events": list(events)}, headers=headers)
            if answer.status_code == 200:
                return list(answer.json()["results"])
        return []

    def now_ms(self) -> int:
        """The time of Redis."""
        seconds, micros = self.raw.time()
        return int(seconds) * 1000 + int(micros) // 1000

    def charged(self) -> dict[tuple[str, int], int]:
        """Campaign and budget day -> micros, by the events in Redis."""
        sums: dict[tuple[str, int], int] = {}
        for partition in range(PARTITIONS):
            for _, e in self.raw.xrange(self.keys.events(partition)):
                at = (e["campaign_id"], int(e["day"]))
                sums[at] = sums.get(at, 0) + int(e["charged_micros"])
        return sums

    def charged_since(self, before: dict[tuple[str, int], int]) -> tuple[int, int]:
        """Of all budget days that were charged to since: what they allow, and what they were charged, in micros."""
        limits = {c.id: c.daily_budget_micros for c in self.stack.market.campaigns}
        days = [
            (limits[at[0]] or 0, m) for at, m in self.charged().items() if m != before.get(at, 0) and limits[at[0]] is not None
        ]
        return sum(limit for limit, _ in days), sum(micros for _, micros in days)

    def over_micros(self) -> int:
        """The most that any budget day was overspent by, by the events; 0 if none was."""
        limits = {c.id: c.daily_budget_micros for c in self.stack.market.campaigns}
        return max(0, *(m - b for (c, _), m in self.charged().items() if (b := limits[c]) is not None), 0)

    def reconciled(self) -> bool:
        """Whether the books and Redis agree to the micro."""
        with redis.Redis.from_url(self.stack.redis.url) as client:
            return not reconcile_now(client, self.stack.market, self.stack.plan.log_dir).differences

    def wait(self, done: Callable[[], bool], what: str) -> float:
        """Seconds until something is so.

        Raises:
          RuntimeError: it did not come about within a minute.
        """
        began = time.monotonic()
        while not done():
            if time.monotonic() - began > PATIENCE_S:
                raise RuntimeError(f"{what}: not within {PATIENCE_S:.0f} s")
            time.sleep(0.05)
        return time.monotonic() - began

    @contextmanager
    def frozen(self, process: str) -> Iterator[None]:
        """Stops a process where it is, as a machine that swaps or a disk that hangs does, and lets it go on at the end."""
        pid = self.supervisor.pids()[process]
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def whole(self) -> bool:
        """Whether a decision comes without a fallback."""
        answer = self.page(test=True)
        return bool(answer) and not answer["degraded"]


@contextmanager
def running(folder: Path, market: str, settings: dict[str, str] | None = None) -> Iterator[Running]:
    """Redis, gateway, pacer and archiver over a market, supervised; ended at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "market.toml"
    path.write_text(market, encoding="utf-8")
    stop = threading.Event()
    with Supervisor(folder / "run", lambda _: None) as supervisor:
        plan = Plan.of(path, folder / "run", port=free_port(), monitor_port=free_port())
        stack = Stack(plan, supervisor, SETTINGS | (settings or {}))
        stack.start_serving()
        stack.start_writers()
        watch = threading.Thread(target=_watch, args=(supervisor, stop))
        watch.start()
        headers = {"authorization": f"Bearer {stack.keys[Role.SERVER]}"}
        with (
            redis.Redis.from_url(stack.redis.url, decode_responses=True) as raw,
            httpx.Client(base_url=plan.gateway_url, timeout=5.0, headers=headers) as http,
        ):
            case = Running(stack, supervisor, raw, http)
            try:
                case.wait(case.whole, "the first whole decision")
                yield case
            finally:
                stop.set()
                watch.join()


def _watch(supervisor: Supervisor, stop: threading.Event) -> None:
    """Starts again what dies, as `offerrank serve` does."""
    while not stop.wait(POLL_S):
        supervisor.poll()


def offers(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """What a page shows."""
    return list(answer["placements"][0]["offers"]) if answer else []


def seen_and_clicked(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both events of an offer that a shopper sees and clicks."""
    return {"type": "impression", "token": token}, {"type": "click", "token": token}
