"""A day's trade in small, then once more: a gateway, a model server and Redis, with budgets that end, pages drawn at random,
a catalogue that is changed and a release that takes another's place in between."""

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGTERM
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis
from gateway_process import GatewayProcess
from hashed_model import write_hashed_release
from known_catalogue import GOLDEN, MARKET, Shelf, campaign, everything, offer
from open_market import paced

from catalogue.address import sqlite_url
from domain.keys import Keys
from features.kept_market import keep
from features.log_archive import DECISIONS, parts
from features.market import load_market
from offerrank.replay import replay_one
from serving.archiver.rows import log_formats
from serving.archiver.stream import LogArchiver
from serving.replay.sweep import sweep
from serving.replay.world import Sources
from store.key_records import Role
from store.ports import free_port

KEYS = Keys(MARKET.name)
PATIENCE_S = 90.0
PAGES, AT_ONCE = 80, 8


def eventually(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


@contextmanager
def model_server(releases: Path, log: Path) -> Iterator[int]:
    port = free_port()
    ports = ["--port", str(port), "--rest-port", str(free_port()), "--poll-interval-s", "0.1"]
    command = [sys.executable, "-m", "serving.model_server", "--model-base-path", str(releases), *ports]
    with log.open("a") as said, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("model-server ready"), log.read_text()
        yield port
        process.send_signal(SIGTERM)


async def trade(gateway: GatewayProcess, pages: int) -> None:
    """Pages of several countries, shoppers and floors, some at one time, some of which are seen and clicked."""

    async def visit(client: httpx.AsyncClient, i: int) -> None:
        shopper = {"key": f"s-{i % 7}", "attributes": {"country": ("DE", "GB", "US")[i % 3], "visits": i % 5}}
        floors = [{"name": "main", "floor_ecpm_micros": 9_000_000 * (i % 4 == 1)}, {"name": "side"}]
        body = {"shopper": shopper, "context": {"amount": 10.0 + 0.1 * i}, "placements": floors}
        answer = await client.post("/v1/decisions", json=body)
        assert answer.status_code == 200, answer.text
        tokens = [o["token"] for p in answer.json()["placements"] for o in p["offers"]]
        events = [{"type": kind, "token": t} for kind in ("impression", "click") for t in tokens[: i % 3]]
        if events:
            await client.post("/v1/events", json={"events": events})

    async with httpx.AsyncClient(base_url=gateway.url, headers=gateway.headers, timeout=60) as client:
        for begin in range(0, pages, AT_ONCE):
            await asyncio.gather(*(visit(client, i) for i in range(begin, min(begin + AT_ONCE, pages))))


def test_all_that_was_decided_is_decided_again_and_a_price_that_was_changed_is_found(
    redis_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    market, releases, log_dir = tmp_path / "market.toml", tmp_path / "releases", tmp_path / "log"
    text = re.sub(r"^epsilon = 0.0", "epsilon = 0.2", GOLDEN.read_text(encoding="utf-8"), flags=re.MULTILINE)
    market.write_text(text.replace("log_candidates = 1.0", "log_candidates = 0.3"), encoding="utf-8")
    releases.mkdir()
    write_hashed_release(releases, 1, market)
    shelf = Shelf(sqlite_url(tmp_path / "catalogue.sqlite"))
    shelf.change(*everything())
    poor = [campaign(c.id, daily_budget_micros=4_000_000) for c in MARKET.campaigns if c.id in ("alpha-spring", "gamma-sales")]
    shelf.change(*poor)
    with model_server(releases, tmp_path / "model.log") as port:
        settings = {"catalogue": shelf.url, "releases": releases, "log_dir": log_dir, "model_server": f"127.0.0.1:{port}"}
        gateway = GatewayProcess(market, redis_url, tmp_path / "gateway.log", **settings)
        with paced(redis_url, market, catalogue=shelf.url):
            gateway.start()
            eventually(lambda: httpx.get(f"{gateway.url}/readyz").json()["release"] == "1")
            asyncio.run(trade(gateway, PAGES))
            new = offer("delta-new", campaign="delta-games", features={"category": "rewards"})
            shelf.change(campaign("delta-games", daily_budget_micros=2_000_000, bid_micros=700_000, targeting={}), new)
            eventually(lambda: httpx.get(f"{gateway.url}/readyz").json()["catalogue"]["version"] == 3)
            asyncio.run(trade(gateway, PAGES))
            write_hashed_release(releases, 2, market)
            eventually(lambda: httpx.get(f"{gateway.url}/readyz").json()["release"] == "2")
            asyncio.run(trade(gateway, PAGES))
            recent = gateway.decide()
            # Once it is in the stream.
            told = eventually(lambda: _explained(gateway, recent["decision_id"]))
            gateway.end(SIGTERM)
    _archive(redis_url, market, log_dir)

    sources = Sources(log_dir, releases, shelf.url)
    done = sweep(sources, 0, float("inf"))
    assert (done.differences, dict(done.refused)) == ([], {})
    assert done.decisions == 3 * PAGES + 1

    assert (told["release"], told["catalogue"], told["differences"]) == ("2", 3, [])
    offers = recent["placements"][0]["offers"]
    shown = {c["offer_id"]: c["price_micros"] for c in told["candidates"] if c["stage"] == "page"}
    assert shown == {o["offer_id"]: o["pricing"]["price_micros"] for o in offers}
    assert {c["offer_id"] for c in told["candidates"]} >= {"delta-new", "omega-coat"}  # those that lost as well
    (part,) = parts(log_dir, DECISIONS)
    rows = pq.ParquetFile(part.path).read().to_pylist()
    # It was no easy day.
    assert {(r["catalogue"], r["release"]) for r in rows} >= {(2, "1"), (3, "1"), (3, "2")}
    moments = [json.loads(r["moment"]) for r in rows]
    assert any(r["explored"] for r in rows)
    assert any(m.get("unable") or "budget" in m.get("barred", {}) for m in moments)

    at = next(i for i, r in enumerate(rows) if r["slots"])
    rows[at]["slots"][0]["price_micros"] += 1
    table = pq.ParquetFile(part.path).read()
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), part.path)
    decision_id = rows[at]["decision_id"]
    capsys.readouterr()
    assert replay_one(decision_id, sources, redis_url, as_json=True) == 1
    (difference,) = json.loads(capsys.readouterr().out)["differences"]
    assert (difference["decision_id"], difference["field"]) == (decision_id, "slots[0].price_micros")
    assert difference["logged"] == difference["recomputed"] + 1
    shelf.database.close()


def _explained(gateway: GatewayProcess, decision_id: str) -> dict[str, Any] | None:
    as_operator = {"authorization": f"Bearer {gateway.keys[Role.OPERATOR]}"}
    url = f"{gateway.url}/v1/decisions/{decision_id}/explain"
    assert httpx.get(url, headers=gateway.headers).status_code == 403  # a server's key
    answer = httpx.get(url, headers=as_operator, timeout=PATIENCE_S)
    assert answer.status_code in (200, 404), answer.text
    return dict(answer.json()) if answer.status_code == 200 else None


def _archive(redis_url: str, market: Path, log_dir: Path) -> None:
    """What an archiver does, once."""
    _, log = log_formats(load_market(market))
    log_dir.mkdir()
    keep(market, log_dir)
    with redis.Redis.from_url(redis_url) as client:
        archiver = LogArchiver(client, [KEYS.decisions], log, log_dir, 20_000)
        archiver.read()
        archiver.flush()
