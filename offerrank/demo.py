"""`offerrank demo`: the closed loop on a simulated market, from the first random page to a model that pays.

Shoppers arrive from the first second. Their clicks are archived and joined into examples; a pipeline in a process of its
own, at low priority, trains a release; the gateway swaps it in while it serves; what it brought is measured against the
best policy that the simulator knows.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import redis
from rich.console import Console

from domain.clock import budget_day, day_fraction, now_ms
from domain.errors import OfferRankError, Unavailable
from features.market import Market, load_market
from monitoring.fault_switch import AT_WORK
from offerrank.demo_store import STORE_PORT, to_the_store
from offerrank.demo_summary import campaign_days, print_summary, summarize
from offerrank.demo_view import Pipeline, Status, View
from offerrank.processes import Supervisor
from offerrank.serve import example_call
from offerrank.stack import HOST, Plan, Stack, answers
from offerrank.training import progress_in
from pipelines.examples import matures_s
from serving.ledger.reconcile import reconcile_now
from simulation.faults import FaultFile, listed
from simulation.run import Simulation
from store.key_records import Role

MARKET = Path(__file__).parents[1] / "examples" / "confirmation" / "market.toml"
TICK_S = 0.25
TRAINING_NICE = 5
LOADING_S = 50.0
SETTLED_S = 10.0
AGAIN_S = 60.0
FULL_EVERY = "20m"
ARCHIVE_EVERY_S = 5.0
WATCH_EVERY_S = 1.0
"""An hour of the demo takes 12.5 s, within which what is broken is to be named."""
KEPT_RUNS = 2
FAULTS = "faults.json"
"""File in the run's folder that says what can be broken, beside the one that says what is."""


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """What `offerrank demo` was asked for; cli.py describes each."""

    minutes: float | None
    json: Path | None
    seed: int
    per_second: float
    train_after_s: float
    retrain_every_s: float
    market: Path | None
    directory: Path


def run(settings: DemoSettings) -> int:
    """Runs the demo to its end or to Ctrl-C, prints the summary, and returns the exit code: 1 if the books are wrong.

    Raises:
      InvalidMarket: the market cannot be used, or simulated shoppers cannot react to it.
      Unavailable: a process does not start.
    """
    console = Console(width=None if sys.stdout.isatty() else 120)
    run_dir, removed = _run_dir(settings.directory)
    market = settings.market or MARKET
    load_market(market)  # says what is wrong with the file that was given, not with the copy
    plan = Plan.of(run_dir / "market.toml", run_dir)
    store_port = plan.kept.take(STORE_PORT)
    store_url = f"http://{HOST}:{store_port}"
    plan.market.write_text(to_the_store(market.read_text(encoding="utf-8-sig"), store_url), encoding="utf-8")
    with View(console) as view, Supervisor(run_dir, view.say) as supervisor:
        view.say(f"this run is kept in {run_dir}" + (f"; {removed} older ones were removed" if removed else ""))
        (run_dir / FAULTS).write_bytes(orjson.dumps(listed()))
        settled = {
            "OFFERRANK_ARCHIVE_INTERVAL_S": str(ARCHIVE_EVERY_S),
            "OFFERRANK_WATCH_INTERVAL_S": str(WATCH_EVERY_S),
            "OFFERRANK_FAULTS": str(run_dir / FAULTS),
        }
        stack = Stack(plan, supervisor, settled)
        demo = Demo(settings, stack, view, store_port)
        asyncio.run(demo.run())
        summary = demo.close_books()
        view.say("stopping")
    print_summary(console, stack.market, summary)
    if settings.json:
        settings.json.write_bytes(orjson.dumps(summary, option=orjson.OPT_INDENT_2) + b"\n")
        console.print(f"written to {settings.json}", highlight=False, markup=False)
    return 0 if summary["reconciled"] and not summary["overspent_campaigns"] else 1


class Demo:
    """One run: traffic, training and the view, side by side."""

    def __init__(self, settings: DemoSettings, stack: Stack, view: View, store_port: int) -> None:
        self._settings = settings
        self._stack = stack
        self._view = view
        self._store_port = store_port
        self._simulation = Simulation(
            stack.market,
            stack.plan.gateway_url,
            stack.keys[Role.SERVER],
            settings.seed,
            settings.per_second,
            FaultFile(stack.plan.run_dir / AT_WORK),
        )
        self._started_s = time.monotonic()
        self._started_ms = now_ms()
        self._status = Status(
            tally=self._simulation.tally,
            currency=stack.market.currency,
            started_s=self._started_s,
            ends_after_s=settings.minutes * 60 if settings.minutes else None,
            page_url=stack.plan.monitor_url,
        )
        self._training: subprocess.Popen[bytes] | None = None
        self._train_at_s = self._started_s + settings.train_after_s + _final_after_s(stack.market)
        self._shown: set[str] = set()

    async def run(self) -> None:
        """Until the minutes are over, or Ctrl-C. A second Ctrl-C does not wait for the shoppers still on a page."""
        stop = asyncio.Event()
        loop, this = asyncio.get_running_loop(), asyncio.current_task()
        assert this is not None

        def told() -> None:
            if stop.is_set():
                this.cancel()
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, told)
        # In a thread, so that signals are heard while processes get ready.
        await asyncio.to_thread(self._stack.start_serving)
        self._view.say(f"serving decisions at {self._stack.plan.gateway_url}, {self._elapsed()} after the start")
        self._start_store()
        await asyncio.to_thread(self._stack.start_others)
        if self._settings.minutes:
            loop.call_later(self._settings.minutes * 60, stop.set)
        traffic = asyncio.create_task(self._simulation.run(stop, self._day_offset_ms()))
        with contextlib.suppress(asyncio.CancelledError):
            while not traffic.done():
                self._tick(stopping=stop.is_set())
                await asyncio.wait([traffic], timeout=TICK_S)
            await traffic
        traffic.cancel()

    def close_books(self) -> dict[str, Any]:
        """Ends the processes that write, then compares the event log with the budgets.

        Raises:
          Unavailable: Redis is gone, so the books cannot be read.
        """
        market = self._stack.market
        for name in ("training", "gateway", "archiver"):
            self._stack.supervisor.stop(name)
        first, last = (budget_day(at, market.policy.day_length_s) for at in (self._started_ms, now_ms()))
        try:
            with redis.Redis.from_url(self._stack.redis.url) as client:
                books = reconcile_now(client, market, self._stack.plan.log_dir)
                days = campaign_days(client, market, first, last)
        except redis.RedisError as e:
            raise Unavailable("redis", f"the books cannot be read: {e}") from None
        summary = summarize(self._simulation.tally, days, books, self._simulation.errors)
        return summary | {
            "seconds": round(time.monotonic() - self._started_s, 1),
            "failures": dict(self._simulation.client.failures),
            "run_dir": str(self._stack.plan.run_dir),
        }

    def _tick(self, stopping: bool) -> None:
        supervisor = self._stack.supervisor
        supervisor.poll()
        if not stopping:
            self._train()
        self._announce()
        self._status.processes = supervisor.states()
        self._status.errors = self._simulation.errors
        if stopping:
            self._status.pipeline = Pipeline("stopping")
        self._view.update(self._status)

    def _train(self) -> None:
        """Starts a training early enough to have TensorFlow loaded when it is due, and follows it to its end."""
        now_s = time.monotonic()
        wait_s = self._train_at_s - now_s
        if self._training is None:
            self._status.pipeline = Pipeline(f"starts in {max(wait_s, 0):.0f} s, to learn from what is final by then")
            if wait_s <= LOADING_S and now_s >= self._started_s + SETTLED_S:
                self._training = self._start_training(round(wait_s))
            return
        log = self._stack.plan.run_dir / "logs" / "training.log"
        if (code := self._training.poll()) is None:
            if wait_s <= 0 and self._once(f"training {self._train_at_s}", True):
                self._view.say(f"training starts on {self._simulation.tally.clicks:,} clicks, in the background")
            self._status.pipeline = progress_in(log) if wait_s <= 0 else Pipeline(f"loads TensorFlow, starts in {wait_s:.0f} s")
            return
        if code == 0:
            self._view.say(f"training is done after {-wait_s:.0f} s: the release was blessed, the model server loads it")
        else:
            last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
            self._view.say(f"training brought no release (log: {log}): {last[0]}")
        self._training = None
        self._train_at_s = now_s + (self._settings.retrain_every_s if code == 0 else AGAIN_S)

    def _start_training(self, delay_s: int) -> subprocess.Popen[bytes]:
        plan = self._stack.plan
        arguments = ["retrain", "--market", str(plan.market), "--log-dir", str(plan.log_dir), "--out", str(plan.releases)]
        # Its first release has seen a minute of a day: too little to keep for long what numbers mean by then.
        arguments += ["--full-every", FULL_EVERY]
        if delay_s > 0:
            arguments += ["--delay", f"{delay_s}s"]
        (plan.run_dir / "logs" / "training.log").unlink(missing_ok=True)
        return self._stack.supervisor.job("training", arguments, self._stack.environment, nice=TRAINING_NICE)

    def _start_store(self) -> None:
        """A shop for people, beside the shoppers that are simulated."""
        stack, market = self._stack, self._stack.market
        environment = {
            "OFFERRANK_GATEWAY_URL": stack.plan.gateway_url,
            "OFFERRANK_PUBLISHER_KEY": stack.keys[Role.PUBLISHER],
            "OFFERRANK_SERVER_KEY": stack.keys[Role.SERVER],
            "OFFERRANK_STORE_PLACEMENT": market.placements[0].name,
            "OFFERRANK_STORE_FEATURES": orjson.dumps([f.name for f in market.request_features]).decode(),
            "OFFERRANK_PORT": str(self._store_port),
        }
        url = f"http://{HOST}:{self._store_port}"
        stack.supervisor.start(
            stack.supervisor.python("store", ["demo-store"], environment, lambda: answers(url), self._store_port)
        )
        self._view.say(f"a store to shop in opens at {url}: buy something there, and follow an offer")

    def _announce(self) -> None:
        """Says once what is new: the page, the first answer, each release."""
        if self._once("page", self._stack.supervisor.is_ready("monitor")):
            self._view.say(f"the page is at {self._stack.plan.monitor_url}")
        sample = self._simulation.sample
        if sample is not None and self._once("sample", True):
            self._view.say(f"first decision {self._elapsed()} after the start; this was asked:")
            self._view.say(_pretty(sample.request))
            self._view.say("and this is the answer:")
            self._view.say(_pretty(_shortened(sample.answer)))
            self._view.say(f"ask one yourself: {example_call(self._stack)}")
        for release in self._simulation.tally.releases:
            if release != "cold-start" and self._once(release, True):
                self._view.say(f"release {release} ranks now, {self._elapsed()} after the start; no request was lost for it")

    def _once(self, what: str, happened: bool) -> bool:
        if not happened or what in self._shown:
            return False
        self._shown.add(what)
        return True

    def _elapsed(self) -> str:
        return f"{time.monotonic() - self._started_s:.1f} s"

    def _day_offset_ms(self) -> int:
        length_s = self._stack.market.policy.day_length_s
        return round(day_fraction(now_ms(), length_s) * length_s * 1000)


def _final_after_s(market: Market) -> float:
    """How long after a page it is known for good, in the archive, what came of it; 0 where training does not wait for that."""
    return ARCHIVE_EVERY_S + max(matures_s(market).values()) if market.training.delayed_labels == "wait" else 0.0


def _run_dir(base: Path) -> tuple[Path, int]:
    """A new folder for this run, and how many of older runs were removed: all but the last few, never one still running."""
    base.mkdir(parents=True, exist_ok=True)
    old = sorted(p for p in base.glob("demo-*") if p.is_dir() and not _runs(p))
    outdated = old[: len(old) - KEPT_RUNS + 1] if len(old) >= KEPT_RUNS else []
    for path in outdated:
        shutil.rmtree(path, ignore_errors=True)
    run_dir = base / time.strftime("demo-%Y%m%d-%H%M%S", time.gmtime())
    try:
        run_dir.mkdir()
    except FileExistsError:
        raise OfferRankError(f"{run_dir}: another demo has just started there; try again in a second") from None
    (run_dir / "pid").write_text(str(os.getpid()), encoding="utf-8")
    return run_dir, len(outdated)


def running_demo(base: Path) -> Path:
    """Folder of the demo that runs, the newest of several.

    Raises:
      OfferRankError: none does.
    """
    running = sorted(p for p in base.glob("demo-*") if _runs(p))
    if not running:
        raise OfferRankError(f"{base}: no demo runs there; `make demo` starts one")
    return running[-1]


def _runs(run_dir: Path) -> bool:
    try:
        os.kill(int((run_dir / "pid").read_text(encoding="utf-8")), 0)
    except (OSError, ValueError):
        return False
    return True


def _pretty(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def _shortened(value: Any) -> Any:
    """An answer with its tokens cut, which are long and say nothing to a reader."""
    if isinstance(value, dict):
        return {k: _shortened(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_shortened(v) for v in value]
    return f"{value[:72]}..." if isinstance(value, str) and len(value) > 90 else value
