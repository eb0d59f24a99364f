"""What clients meet at real gateways: keys that change, browsers, proxies, operators' ports, two replicas at once."""

import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from gateway_process import GOLDEN, GatewayProcess
from open_market import open_market

from domain.keys import Keys
from features.log_entry import decision_json
from features.market import load_market
from offerrank.keys import create, revoke, rotate
from store.key_records import Role
from store.ports import free_port

PAGE = {"placements": [{"name": "main"}]}
SHOP = "https://shop.example"
PATIENCE_S = 30.0


@pytest.fixture
def start(redis_url: str, tmp_path: Path) -> Iterator[Callable[..., GatewayProcess]]:
    started: list[GatewayProcess] = []
    open_market(redis_url, load_market(GOLDEN))

    def begin(**settings: Any) -> GatewayProcess:
        process = GatewayProcess(GOLDEN, redis_url, tmp_path / "gateway.log", **settings)
        started.append(process)
        process.start()
        return process

    yield begin
    for process in started:
        if process.child is not None:
            process.end(signal.SIGKILL)


def ask(gateway: GatewayProcess, key: str, path: str = "/v1/decisions", **headers: str) -> httpx.Response:
    return httpx.post(gateway.url + path, json=PAGE, headers={"authorization": f"Bearer {key}"} | headers)


def until(status: int, answer: Callable[[], httpx.Response]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while (last := answer()).status_code != status:
        assert time.monotonic() < deadline, last.text
        time.sleep(0.05)


def test_keys_are_made_rotated_and_revoked_under_a_running_gateway(start, redis_url, tmp_path):
    gateway = start()
    keys = tmp_path / "keys.jsonl"
    first = create(keys, "shop-web", Role.PUBLISHER, (SHOP,), None, None)
    until(200, lambda: ask(gateway, first, origin=SHOP))
    second = rotate(keys, "shop-web", 3600)
    until(200, lambda: ask(gateway, second, origin=SHOP))
    assert ask(gateway, first, origin=SHOP).status_code == 200  # for the hour of the overlap
    good = keys.read_bytes()
    keys.write_bytes(b"{]")
    deadline = time.monotonic() + PATIENCE_S
    while "the keys stay as they were" not in gateway.log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert ask(gateway, second, origin=SHOP).status_code == 200
    keys.write_bytes(good)
    revoke(keys, "shop-web")
    for text in (first, second):
        until(401, lambda text=text: ask(gateway, text, origin=SHOP))
    assert ask(gateway, gateway.keys[Role.SERVER]).status_code == 200
    assert gateway.end(signal.SIGTERM) == 0
    with redis.Redis.from_url(redis_url) as raw:
        names = {json.loads(decision_json(e))["asked_by"] for _, e in raw.xrange(Keys("golden").decisions)}
    assert names == {"shop-web", "embedded-server"}
    assert not [text for text in (first, second) if text in gateway.log.read_text()]


def test_a_page_of_a_publisher_asks_and_reports_as_a_browser_does(start, tmp_path):
    gateway = start()
    key = create(tmp_path / "keys.jsonl", "shop-web", Role.PUBLISHER, (SHOP,), None, None)
    until(200, lambda: ask(gateway, key, origin=SHOP))
    wanted = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    preflight = httpx.options(f"{gateway.url}/v1/decisions", headers={"origin": SHOP} | wanted)
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, SHOP)
    assert {"authorization", "content-type"} <= set(preflight.headers["access-control-allow-headers"].lower().split(", "))
    page = ask(gateway, key, origin=SHOP)
    assert page.headers["access-control-allow-origin"] == SHOP
    token = page.json()["placements"][0]["offers"][0]["token"]
    body = json.dumps({"events": [{"type": "impression", "token": token}]})
    beacon = {"origin": SHOP, "content-type": "text/plain;charset=UTF-8"}
    reported = httpx.post(f"{gateway.url}/v1/events", params={"key": key}, content=body, headers=beacon)
    assert reported.json()["results"][0]["status"] == "logged"
    evil = "https://evil.example"
    assert httpx.options(f"{gateway.url}/v1/decisions", headers={"origin": evil} | wanted).status_code == 400
    stolen = ask(gateway, key, origin=evil)
    assert (stolen.status_code, "access-control-allow-origin" in stolen.headers) == (403, False)


def test_two_replicas_asked_at_the_same_instant_give_one_answer_and_log_one_decision(start, redis_url):
    replicas = [start(), start()]
    client = httpx.Client(headers=replicas[0].headers, timeout=20)

    def answer(i: int, replica: GatewayProcess) -> str:
        body = PAGE | {"id": f"order-{i}"}
        written = json.dumps(dict(reversed(body.items())) if replica is replicas[1] else body)
        for _ in range(20):  # a machine that is busy with other tests may keep a gateway from its Redis for long
            response = client.post(f"{replica.url}/v1/decisions", content=written, headers={"content-type": "application/json"})
            if response.status_code != 503:
                break
            time.sleep(0.5)
        assert response.status_code == 200, response.text
        return response.text

    with client, ThreadPoolExecutor(2) as pool:
        pairs = [list(pool.map(answer, (i, i), replicas)) for i in range(100)]
    assert [i for i, (one, other) in enumerate(pairs) if one != other] == []
    assert [replica.end(signal.SIGTERM) for replica in replicas] == [0, 0]
    with redis.Redis.from_url(redis_url) as raw:
        logged = [json.loads(decision_json(e))["decision_id"] for _, e in raw.xrange(Keys("golden").decisions)]
    assert sorted(logged) == sorted(f"order-{i}" for i in range(100))


def test_operators_have_a_port_of_their_own(start):
    port = free_port()
    gateway = start(operator_port=port)
    inside, operator = f"http://127.0.0.1:{port}", {"authorization": f"Bearer {gateway.keys[Role.OPERATOR]}"}
    for path in ("/metrics", "/docs", "/openapi.json"):
        assert httpx.get(inside + path).status_code == 200
        assert httpx.get(gateway.url + path).status_code == 404
        # Nothing that a caller says makes another port of it.
        assert (
            httpx.get(gateway.url + path, headers={"host": f"127.0.0.1:{port}", "x-forwarded-port": str(port)}).status_code == 404
        )
        assert httpx.get(gateway.url + path, headers=operator).status_code == 200
    assert ask(gateway, gateway.keys[Role.SERVER]).status_code == 200
    assert httpx.post(f"{inside}/v1/decisions", json=PAGE).status_code == 401  # that port asks for keys like the other


def test_a_rate_is_of_the_client_that_a_trusted_proxy_saw(start, tmp_path):
    gateway = start(address_per_second=0.01)
    key = create(tmp_path / "keys.jsonl", "app", Role.PUBLISHER, (), None, None)
    until(200, lambda: ask(gateway, key))
    client = {"x-forwarded-for": "198.51.100.9, 192.0.2.7"}  # what the client claims, then what the proxy saw
    assert ask(gateway, key, **client).status_code == 200
    again = ask(gateway, key, **{"x-forwarded-for": "198.51.100.10, 192.0.2.7"})
    assert (again.status_code, again.json()["error"]["field"]) == (429, "address")
    assert int(again.headers["retry-after"]) > 0
    assert ask(gateway, key, **{"x-forwarded-for": "192.0.2.8"}).status_code == 200
    assert ask(gateway, gateway.keys[Role.SERVER], **client).status_code == 200


def test_without_a_trusted_proxy_nobody_hides_behind_a_header(start, tmp_path):
    gateway = start(address_per_second=0.01, trusted_proxies="192.0.2.1")
    key = create(tmp_path / "keys.jsonl", "app", Role.PUBLISHER, (), None, None)
    until(200, lambda: ask(gateway, key))
    # This machine is not held to a rate: were the header believed, the second would be a 429.
    assert [ask(gateway, key, **{"x-forwarded-for": "192.0.2.7"}).status_code for _ in range(3)] == [200] * 3


def test_a_port_that_is_taken_is_one_line(start):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(AssertionError, match="cannot listen on"):
            start(operator_port=taken.getsockname()[1])
