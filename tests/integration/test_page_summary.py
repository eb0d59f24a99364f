"""The page's process against a real Redis: figures from a known stream, health, and what happens when Redis goes away."""

import re
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
from log_entries import decision, decision_fields, event_fields, slot
from page_process import PageProcess

from domain.clock import budget_day, now_ms
from domain.keys import Keys
from monitoring.dashboard.storage_light import ArchiveState, RedisMemory
from monitoring.ledger_state import LedgerState
from serving.embedded_redis import EmbeddedRedis

KEYS = Keys("corner")
DAY_MS = 86_400_000


@pytest.fixture
def client(redis_url: str) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(redis_url) as made:
        yield made


def log_two_releases(client: "redis.Redis", n: int = 10) -> int:
    """n decisions of each of two releases, ten seconds apart, one minute ago; returns when the second came."""
    first = (now_ms() - 60_000) // 1000 * 1000
    for release, at in (("cold-start", first), ("1700000010", first + 10_000)):
        for i in range(n):
            name = f"{release}-{i}"
            made = decision(name, at, slot(f"i-{name}"), release=release, total_us=(i + 1) * 1000)
            client.xadd(KEYS.decisions, decision_fields(made), id=f"{at + i}-0")
            client.xadd(KEYS.events(i), event_fields("impression", f"i-{name}", name, at), id=f"{at + 100 + 2 * i}-0")
            if i < (1 if release == "cold-start" else 3):
                click = event_fields("click", f"i-{name}", name, at, status="settled", charged_micros=250_001)
                client.xadd(KEYS.events(i), click, id=f"{at + 101 + 2 * i}-0")
    return first + 10_000


def test_figures_of_a_known_stream(client: "redis.Redis", redis_url: str, tmp_path: Path) -> None:
    swap = log_two_releases(client)
    client.hset(KEYS.releases, "1700000010", swap - 5)
    day = budget_day(now_ms(), 86_400)
    for d in (day, day + 1):  # the test may run over midnight
        client.hset(KEYS.budget("tea", d), mapping={"spent": 1_000_004, "held": 77})
    client.hset(KEYS.pacing, "tea", "0.625")
    before = client.info("commandstats")
    with PageProcess(redis_url, tmp_path) as page:
        got = page.summary_when(lambda s: s["caught_up"] and s["campaigns"])
        decisions = page.get("/api/decisions")
        market = page.get("/api/market")
    total = got["total"]
    assert (total["decisions"], total["impressions"], total["clicks"], total["charged_micros"]) == (20, 20, 4, 1_000_004)
    assert (total["ctr"], total["fill_rate"], total["revenue_per_1000_micros"]) == (0.2, 1.0, 50_000_200.0)
    cold, trained = got["releases"]
    assert (cold["release"], cold["ctr"], cold["charged_micros"]) == ("cold-start", 0.1, 250_001)
    assert (trained["release"], trained["ctr"], trained["first_ms"]) == ("1700000010", 0.3, swap - 5)
    at = got["series"]["at_ms"].index(swap + 1000)  # the bucket that begins with the swap
    figures = {name: values[at] for name, values in got["series"].items()}
    # Ten decisions of 1 to 10 ms in that second; 4 clicks and 20 decisions within the minute before its end.
    assert (figures["decisions_per_s"], figures["p50_ms"], figures["p95_ms"]) == (10.0, 5.0, 10.0)
    assert (figures["ctr"], figures["revenue_per_1000_micros"]) == (0.2, 50_000_200.0)
    tea, wine, own = got["campaigns"]
    assert (tea["spent_micros"], tea["held_micros"], tea["pacing_multiplier"]) == (1_000_004, 77, 0.625)
    assert tea["plan_micros"] == pytest.approx(100_000_000 * got["day_fraction"], abs=1)
    assert (wine["spent_micros"], own["plan_micros"], own["daily_budget_micros"]) == (0, None, None)
    assert [d["decision_id"] for d in decisions] == [f"1700000010-{i}" for i in range(9, -1, -1)] + [
        f"cold-start-{i}" for i in range(9, -1, -1)
    ]
    expected = decision("1700000010-9", swap, slot("i-1700000010-9"), release="1700000010", total_us=10_000)
    assert decisions[0] == asdict(expected)
    assert market["titles"]["green"] == "Green tea"
    assert market["reasons"]["102"]["name"] == "OUTBID"
    # Read-only: nothing but reads was called since.
    called = {
        name for name, stats in client.info("commandstats").items() if stats["calls"] > before.get(name, {"calls": 0})["calls"]
    }
    reads = {
        "xrange",
        "memory",
        "time",
        "hgetall",
        "hmget",
        "ping",
        "pttl",
        "info",
        "client",
        "hello",
        "select",
        "command",
        "client|setinfo",
    }
    assert {name.removeprefix("cmdstat_") for name in called} <= reads


LEDGER = {"at_ms": 0, "interval_s": 60, "accounts": 7, "differences": 0, "refused": 0, "budgets": 3, "closed": 0, "trouble": ""}


@pytest.mark.parametrize(
    ("said", "ok", "detail"),
    [
        ({}, True, "7 accounts agree to the micro, "),
        ({"differences": 2}, False, "log and Redis differ on 2 of 7 accounts, "),
        ({"closed": 1, "refused": 4}, False, "1 of 3 budgets are closed; 4 entries refused, "),
        ({"trouble": "the disk is full"}, False, "the disk is full, "),
        ({"at_ms": -200_000}, False, "7 accounts agree to the micro, 200 s ago"),
    ],
)
def test_the_ledger_has_a_light(said: dict[str, object], ok: bool, detail: str) -> None:
    found = LedgerState.of({name: str(value) for name, value in (LEDGER | said).items()}, at_ms=0)
    assert found is not None
    assert (found.ok, found.detail.startswith(detail)) == (ok, True), found.detail


def test_prometheus_is_told_of_the_ledger(client: "redis.Redis", redis_url: str, tmp_path: Path) -> None:
    client.hset(KEYS.ledger, mapping=LEDGER | {"differences": 2, "closed": 1, "at_ms": int(time.time() * 1000) - 5000})
    with PageProcess(redis_url, tmp_path) as page:
        health = {h["name"]: h for h in page.summary_when(lambda s: s["health"])["health"]}
        with urllib.request.urlopen(page.url + "/metrics", timeout=30) as answer:
            exported = dict(line.split() for line in answer.read().decode().splitlines() if not line.startswith("#"))
    assert health["Ledger"]["ok"] is False
    assert exported["offerrank_ledger_differences"] == "2.0"
    assert (exported["offerrank_budgets_open"], exported["offerrank_budgets_closed"]) == ("2.0", "1.0")
    assert 5 <= float(exported["offerrank_ledger_age_seconds"]) < 120


ARCHIVE = ArchiveState(lag_s=2, age_s=30, interval_s=60, rejected=0, fault="")


@pytest.mark.parametrize(
    ("changes", "ok", "detail"),
    [
        ({}, True, "2 s behind, wrote 30 s ago"),
        ({"age_s": 186}, False, "2 s behind, wrote 186 s ago"),
        ({"rejected": 3}, False, "2 s behind, wrote 30 s ago, 3 entries rejected"),
        ({"fault": "events: No space left on device"}, False, "2 s behind, wrote 30 s ago, events: No space left on device"),
        ({"lag_s": 300}, False, "300 s behind, wrote 30 s ago"),  # it writes, but does not catch up
        ({"age_s": None}, None, "2 s behind, has not written yet"),
        ({"age_s": None, "lag_s": 300}, False, "300 s behind, has not written yet"),  # there is none
    ],
)
def test_the_archiver_has_a_light(changes: dict[str, Any], ok: bool | None, detail: str) -> None:
    found = replace(ARCHIVE, **changes)
    assert (found.ok, found.detail) == (ok, detail)


def test_the_light_of_redis_goes_red_before_its_memory_is_full() -> None:
    memory = RedisMemory(0.0004, 600 << 20, 768 << 20, {"decisions": 250 << 20, "events": 3 << 20})
    assert (memory.ok, memory.detail) == (True, "answers in 0.4 ms, 78% of 768 MB used")
    fuller = replace(memory, used_bytes=620 << 20)
    assert fuller.ok is False
    assert fuller.detail.endswith("it holds 250 MB of decisions and 3 MB of events")
    unlimited = replace(memory, limit_bytes=0)
    assert (unlimited.ok, unlimited.detail) == (True, "answers in 0.4 ms, 600 MB used")


def test_prometheus_is_told_of_memory_and_archive(own_redis: EmbeddedRedis, tmp_path: Path) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory", "100mb")
        waiting = now_ms() - 400_000
        for p in (0, 15):
            client.xadd(KEYS.events(p), event_fields("impression", "i", "d", waiting), id=f"{waiting + p}-0")
        client.hset(KEYS.archiver, mapping={"interval_s": 60, "rejected": 1, "fault": "", "events:0": f"{waiting}-0"})
        with PageProcess(own_redis.url, tmp_path) as page:
            health = {h["name"]: h for h in page.summary_when(lambda s: s["health"])["health"]}
            with urllib.request.urlopen(page.url + "/metrics", timeout=30) as answer:
                exported = dict(line.split() for line in answer.read().decode().splitlines() if not line.startswith("#"))
    assert health["Redis"]["ok"] is True
    assert re.search(r"\d+% of 100 MB used", health["Redis"]["detail"])
    assert float(exported["offerrank_redis_memory_limit_bytes"]) == 100 << 20
    assert 0 < float(exported["offerrank_redis_memory_bytes"]) < 100 << 20
    assert float(exported['offerrank_stream_bytes{log="events"}']) > 0
    assert float(exported['offerrank_stream_bytes{log="decisions"}']) == 0
    # Partition 15's entry waits; that of partition 0 is archived.
    assert 400 <= float(exported["offerrank_archiver_lag_seconds"]) < 500
    assert exported["offerrank_archiver_rejected"] == "1.0"
    assert (exported["offerrank_archiver_age_seconds"], exported["offerrank_ledger_age_seconds"]) == ("NaN", "NaN")


def test_a_proxys_users_see_no_shopper_keys(client: "redis.Redis", redis_url: str, tmp_path: Path) -> None:
    client.xadd(KEYS.decisions, decision_fields(decision("d", now_ms(), slot("i"))))
    with PageProcess(redis_url, tmp_path, user_header="X-Forwarded-User") as page:
        request = urllib.request.Request(page.url + "/api/decisions", headers={"X-Forwarded-User": "bob"})
        deadline, made = time.monotonic() + 60, []
        while not made:
            assert time.monotonic() < deadline
            with urllib.request.urlopen(request, timeout=30) as answer:
                made = orjson.loads(answer.read())
            time.sleep(0.05)
    assert (made[0]["decision_id"], made[0]["shopper_key"]) == ("d", "hidden")


def test_health_says_what_is_wrong(client: "redis.Redis", redis_url: str, tmp_path: Path) -> None:
    class Gateway(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.end_headers()
            self.wfile.write(b"no budgets")

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client.set(KEYS.pacer_lock, "someone", px=60_000)
    waiting = now_ms() - 90_000
    client.xadd(KEYS.decisions, decision_fields(decision("d", waiting)), id=f"{waiting}-0")
    beat = {"beat_ms": now_ms() - 100_000, "interval_s": 5, "rejected": 2, "decisions": f"{waiting - 1}-0"}
    client.hset(KEYS.archiver, mapping=beat)
    client.hset(KEYS.watch, mapping={"beat_ms": now_ms(), "skipped": 3, "fault": ""})
    try:
        with PageProcess(redis_url, tmp_path, gateway_url=f"http://127.0.0.1:{server.server_port}") as page:
            health = {h["name"]: h for h in page.summary_when(lambda s: s["health"])["health"]}
    finally:
        server.shutdown()
        server.server_close()
    assert health["Gateway"] == {"name": "Gateway", "ok": False, "detail": "503: no budgets"}
    assert (health["Redis"]["ok"], health["Pacer"]["ok"], health["Archiver"]["ok"]) == (True, True, False)
    # The oldest entry that is not archived is 90 s old; the archiver wrote 100 s ago.
    assert health["Archiver"]["detail"].startswith("9")
    assert "s behind, wrote 10" in health["Archiver"]["detail"]
    assert health["Archiver"]["detail"].endswith("2 entries rejected")
    assert health["Watch"]["ok"] is False
    assert health["Watch"]["detail"].startswith("3 parts of the archive cannot be read, took a turn ")


def test_it_outlives_redis_and_reads_on(own_redis: EmbeddedRedis, tmp_path: Path) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        log_two_releases(client)
    with PageProcess(own_redis.url, tmp_path) as page:
        page.summary_when(lambda s: s["total"]["decisions"] == 20)
        own_redis.stop()
        page.summary_when(lambda s: s["redis"] is False and any(h["name"] == "Redis" and h["ok"] is False for h in s["health"]))
        own_redis.start()
        with redis.Redis.from_url(own_redis.url) as client:
            client.xadd(KEYS.decisions, decision_fields(decision("new", now_ms())))
        page.summary_when(lambda s: s["redis"] is True and s["total"]["decisions"] == 21)


def test_a_long_stream_is_read_and_the_page_answers_meanwhile(client: "redis.Redis", redis_url: str, tmp_path: Path) -> None:
    start, n = now_ms() - 1_800_000, 30_000
    pipe = client.pipeline(transaction=False)
    fields = decision_fields(decision("d", start, slot("i")))
    for i in range(n):
        pipe.xadd(KEYS.decisions, fields, id=f"{start + i * 10}-0")
    # Two hours old: before the charts, so it is not read.
    client.xadd(KEYS.decisions, fields, id=f"{start - 7_200_000}-0")
    pipe.execute()
    with PageProcess(redis_url, tmp_path, page_bucket_s=5) as page:
        assert page.get("/api/summary")["market"] == "corner"
        got = page.summary_when(lambda s: s["caught_up"])
    assert got["total"]["decisions"] == n
    assert sum(got["series"]["decisions_per_s"]) * 5 == pytest.approx(n)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly(redis_url: str, tmp_path: Path, how: int) -> None:
    with PageProcess(redis_url, tmp_path) as page:
        page.process.send_signal(how)
        assert page.process.wait(30) == 0
        assert "Traceback" not in page.output.read_text()


def test_a_wrong_market_is_one_line(redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "market.toml").write_text("name = 'x'")
    page = PageProcess(redis_url, tmp_path)
    assert page.process.wait(60) == 1
    assert page.output.read_text().startswith("dashboard: currency: ")


def test_the_page_and_its_charts_come_from_here(redis_url: str, tmp_path: Path) -> None:
    with PageProcess(redis_url, tmp_path) as page:
        with urllib.request.urlopen(f"{page.url}/") as answer:
            html, policy = answer.read().decode(), answer.headers["Content-Security-Policy"]
        assert "https://" not in html
        assert "default-src 'self'" in policy
        with urllib.request.urlopen(f"{page.url}/plotly.js") as answer:
            assert len(answer.read()) > 1_000_000
