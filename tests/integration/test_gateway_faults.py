"""Redis or the model server away, frozen or slow: what the gateway still does, and that it recovers by itself."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import redis
from freezing import frozen
from open_market import paced

from domain.clock import budget_day, now_ms
from domain.errors import Unavailable
from domain.keys import Keys
from domain.policy import Deadlines
from features.log_entry import decision_json
from features.market import load_market, market_digest
from models.calibration import Calibrator, TaskCalibration
from offerrank.stack import embedded_keys
from serving.embedded_redis import EmbeddedRedis
from serving.gateway.adapters import predict_messages as messages
from serving.gateway.adapters.memory import MemoryReleases
from serving.gateway.adapters.model_client import ModelClient
from serving.gateway.app import create_app
from serving.gateway.market_view import MarketView
from serving.gateway.service import open_service
from serving.gateway.settings import GatewaySettings
from store.key_records import Role
from store.ports import free_port

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "market.toml"
# Generous deadlines, so that a busy machine does not look like a slow dependency.
PATIENT = Deadlines(shopper=1000, retrieval=1000, ranking=1000, hold=1000)
AS_WRITTEN = load_market(GOLDEN)
MARKET = AS_WRITTEN.model_copy(update={"policy": AS_WRITTEN.policy.model_copy(update={"deadlines_ms": PATIENT})})
KEYS = Keys(MARKET.name)
PAGE = {"placements": [{"name": "main"}]}
PATIENCE_S = 20.0


class Client:
    """Talks to a gateway in this process that has real dependencies."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def decide(self, **body: Any) -> dict[str, Any]:
        response = await self.http.post("/v1/decisions", json=PAGE | body)
        assert response.status_code == 200, response.text
        return dict(response.json())

    async def report(self, event: str, token: str) -> httpx.Response:
        return await self.http.post("/v1/events", json={"events": [{"type": event, "token": token}]})

    async def is_ready(self) -> bool:
        return (await self.http.get("/readyz")).status_code == 200

    async def is_not_ready(self) -> bool:
        return not await self.is_ready()

    async def decide_until(self, accepted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_S
        while not accepted(answer := await self.decide()):
            assert time.monotonic() < deadline, answer
            await asyncio.sleep(0.05)
        return answer


@asynccontextmanager
async def running(redis_url: str, **settings: Any) -> AsyncIterator[Client]:
    view = MarketView.of(MARKET)
    config = GatewaySettings(market=GOLDEN, secret="a secret of tests", redis_url=redis_url, **settings)
    app = create_app(view.market, lambda: open_service(config, view))
    with paced(redis_url, GOLDEN):
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as http,
        ):
            yield Client(http)


async def eventually(condition: Callable[[], Awaitable[bool] | bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        met = condition()
        if met if isinstance(met, bool) else await met:
            return
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def offers(answer: dict[str, Any]) -> list[str]:
    return [o["offer_id"] for o in answer["placements"][0]["offers"]]


def spent(url: str, campaign: str) -> int:
    with redis.Redis.from_url(url) as client:
        return int(client.hget(KEYS.budget(campaign, budget_day(now_ms(), MARKET.policy.day_length_s)), "spent") or 0)


def test_redis_away_stops_the_sale_of_budgeted_offers_until_it_is_back(own_redis: EmbeddedRedis):
    async def scenario() -> None:
        async with running(own_redis.url) as client:
            before = await client.decide_until(lambda answer: not answer["degraded"])
            assert offers(before) == ["gamma-trip", "alpha-shoes"]
            shoes = before["placements"][0]["offers"][1]["token"]
            await client.report("impression", shoes)

            own_redis.stop()
            away = await client.decide()
            assert offers(away) == ["house-club"]
            assert away["degraded"] == ["shopper", "budgets"]
            await eventually(client.is_not_ready)
            refused = await client.report("click", shoes)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert (await client.http.get(f"/v1/c/{shoes}")).status_code == 302

            own_redis.start()
            back = await client.decide_until(lambda answer: not answer["degraded"])
            assert offers(back) == ["gamma-trip", "alpha-shoes"]
            # The click that came while Redis was away was kept, and is charged now; reported again, it is a duplicate.
            await eventually(lambda: spent(own_redis.url, "alpha-spring") == 750_000)
            assert (await client.report("click", shoes)).json()["results"][0]["status"] == "duplicate"
            decided = {d["decision_id"] for d in (before, away, back)}

            def all_logged() -> bool:
                with redis.Redis.from_url(own_redis.url) as raw:
                    logged = [decision_json(e) for _, e in raw.xrange(KEYS.decisions)]
                return all(sum(f'"decision_id":"{i}"'.encode() in d for d in logged) == 1 for i in decided)

            await eventually(all_logged)

    asyncio.run(scenario())


def test_redis_killed_keeps_what_was_settled(own_redis: EmbeddedRedis):
    async def scenario() -> None:
        async with running(own_redis.url) as client:
            shoes = (await client.decide_until(lambda a: not a["degraded"]))["placements"][0]["offers"][1]["token"]
            await client.report("impression", shoes)
            assert (await client.report("click", shoes)).json()["results"][0]["charged_micros"] == 750_000
            own_redis.kill()
            assert (await client.decide())["degraded"] == ["shopper", "budgets"]
            own_redis.start()
            await client.decide_until(lambda answer: not answer["degraded"])
            assert spent(own_redis.url, "alpha-spring") == 750_000
            assert (await client.report("click", shoes)).json()["results"][0]["status"] == "duplicate"

    asyncio.run(scenario())


def test_redis_frozen_holds_nobody_up(own_redis: EmbeddedRedis):
    async def scenario() -> None:
        async with running(own_redis.url) as client:
            token = (await client.decide_until(lambda a: not a["degraded"]))["placements"][0]["offers"][1]["token"]
            await client.report("impression", token)
            assert own_redis.process is not None
            with frozen(own_redis.process.pid):
                answers = await asyncio.gather(*(client.decide() for _ in range(50)))
                assert all(offers(a) == ["house-club"] and "budgets" in a["degraded"] for a in answers)
                assert (await client.report("click", token)).status_code == 503
            back = await client.decide_until(lambda answer: not answer["degraded"])
            assert offers(back) == ["gamma-trip", "alpha-shoes"]
            # Holds that were under way when it froze may have been made: they expire, nothing is overspent.
            assert (await client.report("click", token)).json()["results"][0]["status"] in ("settled", "duplicate")

    asyncio.run(scenario())


def test_the_gateway_starts_without_redis_and_finds_it_later(own_redis: EmbeddedRedis):
    async def scenario() -> None:
        own_redis.stop()
        async with running(own_redis.url) as client:
            assert offers(await client.decide()) == ["house-club"]
            own_redis.start()
            assert offers(await client.decide_until(lambda a: not a["degraded"])) == ["gamma-trip", "alpha-shoes"]

    asyncio.run(scenario())


def test_what_waits_at_the_end_is_written(redis_url):
    async def scenario() -> set[str]:
        async with running(redis_url) as client:
            return {(await client.decide())["decision_id"] for _ in range(30)}

    decided = asyncio.run(scenario())
    with redis.Redis.from_url(redis_url) as raw:
        assert raw.xlen(KEYS.decisions) == len(decided) == 30


def test_a_repeated_id_is_answered_by_any_replica(redis_url):
    async def scenario() -> None:
        async with running(redis_url) as one, running(redis_url) as other:
            first = await one.decide(id="order-7")
            assert await other.decide(id="order-7") == first
            turned_round = '{"placements" :[{ "count": null, "name":"main"}], "test": false, "id":"order-7"}'
            same = await other.http.post("/v1/decisions", content=turned_round, headers={"content-type": "application/json"})
            assert same.json() == first
            both = await asyncio.gather(*(gateway.decide(id="order-8") for _ in range(5) for gateway in (one, other)))
            assert len({str(b) for b in both}) == 1
            changed = await other.http.post("/v1/decisions", json={"id": "order-7", "placements": [{"name": "side"}]})
            assert (changed.status_code, changed.json()["error"]["field"]) == (409, "id")

    asyncio.run(scenario())
    with redis.Redis.from_url(redis_url) as raw:
        assert raw.xlen(KEYS.decisions) == 2


class ModelServer:
    """Answers Predict over real gRPC with a CTR by country, after `delay_s`."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.delay_s = 0.0
        self.asked = 0

    async def predict(self, request: Any, _: Any) -> Any:
        self.asked += 1
        await asyncio.sleep(self.delay_s)
        inputs = {name: messages.decode_tensor(t) for name, t in request.inputs.items()}
        answer = messages.PredictResponse()
        answer.model_spec.version.value = request.model_spec.version.value
        for task in ("ctr", "cvr"):
            p = 0.5 if inputs["country"][0] == b"GB" else 0.25
            messages.encode_tensor(np.full(len(inputs["category"]), p, np.float32), answer.outputs[task])
        return answer

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = grpc.aio.server()
        _, service, method = messages.PREDICT.split("/")
        handler = grpc.unary_unary_rpc_method_handler(
            self.predict, messages.PredictRequest.FromString, messages.PredictResponse.SerializeToString
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
        server.add_insecure_port(f"127.0.0.1:{self.port}")
        await server.start()
        try:
            yield
        finally:
            await server.stop(None)


@asynccontextmanager
async def ranked_by(port: int, redis_url: str, folder: Path, ranking_ms: int = 1000) -> AsyncIterator[Client]:
    """A gateway that believes release 7 is active on a model server; asked with a server's key, which may see prices."""
    deadlines = MARKET.policy.deadlines_ms.model_copy(update={"ranking": ranking_ms})
    view = MarketView.of(MARKET.model_copy(update={"policy": MARKET.policy.model_copy(update={"deadlines_ms": deadlines})}))
    headers = {"authorization": f"Bearer {embedded_keys(folder)[Role.SERVER]}"}
    settings = {"redis_url": redis_url, "model_server": f"127.0.0.1:{port}", "keys": folder / "keys.jsonl"}
    config = GatewaySettings(market=GOLDEN, secret="a secret of tests", **settings)
    releases = MemoryReleases.of(view, 7, Calibrator(tasks={t: TaskCalibration() for t in view.task_names}))

    @asynccontextmanager
    async def opened() -> AsyncIterator[Any]:
        async with open_service(config, view) as service:
            yield replace(service, ports=replace(service.ports, releases=releases))

    app = create_app(view.market, opened)
    with paced(redis_url, GOLDEN):
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway", headers=headers) as http,
        ):
            yield Client(http)


def test_a_ranker_that_is_slow_or_away_is_done_without(redis_url, tmp_path):
    port = free_port()
    server = ModelServer(port)

    async def scenario() -> None:
        async with ranked_by(port, redis_url, tmp_path) as client:
            await client.decide_until(lambda answer: answer["degraded"] == ["ranker"])
            async with server.running():
                up = await client.decide_until(lambda answer: not answer["degraded"])
                assert up["release"] == "7"
                priced = await client.decide(include_pricing=True, shopper={"attributes": {"country": "GB"}})
                assert priced["placements"][0]["offers"][0]["pricing"]["probability"]["ctr"] == pytest.approx(0.5, rel=1e-9)
                server.delay_s = 5.0
                slow = await client.decide()
                assert (slow["degraded"], slow["release"], offers(slow)) == (
                    ["ranker"],
                    "cold-start",
                    ["gamma-trip", "alpha-shoes"],
                )
                server.delay_s = 0.0
                assert (await client.decide_until(lambda answer: not answer["degraded"]))["release"] == "7"
            assert (await client.decide())["degraded"] == ["ranker"]

    asyncio.run(scenario())


def test_a_ranker_that_hangs_is_waited_for_a_few_times_and_then_only_by_a_probe(redis_url, tmp_path):
    port = free_port()
    server = ModelServer(port)

    async def scenario() -> None:
        async with server.running(), ranked_by(port, redis_url, tmp_path, ranking_ms=200) as client:
            await client.decide_until(lambda answer: not answer["degraded"])
            server.delay_s, server.asked = 60.0, 0  # as after SIGSTOP: connected, and silent
            waiting = [asyncio.create_task(client.decide()) for _ in range(8)]
            assert [(await w)["degraded"] for w in waiting] == [["ranker"]] * 8
            waited = server.asked
            answers = [await client.decide() for _ in range(50)]
            assert {(*a["degraded"], a["release"]) for a in answers} == {("ranker", "cold-start")}
            assert server.asked - waited <= 10
            server.delay_s = 0.0  # SIGCONT
            assert (await client.decide_until(lambda answer: not answer["degraded"]))["release"] == "7"

    asyncio.run(scenario())


@pytest.mark.parametrize("sent", [[], [b"\xff"]], ids=["nothing", "garbage"])
def test_a_call_that_ends_well_without_a_readable_answer_is_a_ranker_that_is_away(sent: list[bytes]):
    port = free_port()
    _, service, method = messages.PREDICT.split("/")

    async def answer(_request: bytes, _context: Any) -> AsyncIterator[bytes]:
        for message in sent:
            yield message

    async def scenario() -> None:
        server = grpc.aio.server()
        # For the caller it is a call with one answer; on the wire both are the same.
        handlers = {method: grpc.unary_stream_rpc_method_handler(answer)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        client = ModelClient(f"127.0.0.1:{port}")
        try:
            with pytest.raises(Unavailable, match="ranker"):
                await client.predict("serving_default", 7, {"country": np.array([b"GB"], object)}, 5.0)
        finally:
            await client.close()
            await server.stop(None)

    asyncio.run(scenario())


def test_the_client_and_this_server_agree_on_bytes():
    """Guards the double itself: strings, ints and floats arrive as they were sent."""
    port = free_port()

    async def scenario() -> dict[str, Any]:
        async with ModelServer(port).running():
            client = ModelClient(f"127.0.0.1:{port}")
            inputs = {"country": np.array([b"GB"], object), "category": np.array([b"a", b"b"], object)}
            try:
                return await client.predict("serving_default", 7, inputs, 5.0)
            finally:
                await client.close()

    outputs = asyncio.run(scenario())
    assert outputs["ctr"].tolist() == [0.5, 0.5]


def test_a_gateway_with_another_market_file_or_clock_is_noticed(
    own_redis: EmbeddedRedis, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    other = tmp_path / "market.toml"
    other.write_text(GOLDEN.read_text().replace("bid_micros = ", "bid_micros = 1", 1))
    view = MarketView.of(MARKET)
    config = GatewaySettings(market=other, secret="a secret of tests", redis_url=own_redis.url)
    app = create_app(view.market, lambda: open_service(config, view))

    async def scenario() -> None:
        with paced(own_redis.url, GOLDEN), redis.Redis.from_url(own_redis.url) as raw:
            raw.hset(
                KEYS.beats, "elsewhere", json.dumps({"market": market_digest(GOLDEN).hex(), "offset_ms": 9000, "at_ms": now_ms()})
            )
            async with app.router.lifespan_context(app):
                await eventually(lambda: "has another market file" in caplog.text)
                await eventually(lambda: "gateway elsewhere has a clock that is -9.0 s off" in caplog.text)

    asyncio.run(scenario())
