"""The gateway as a process: starts, answers the examples of docs/api.md, ends cleanly, survives kill -9."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from gateway_process import GOLDEN, REPOSITORY, GatewayProcess
from open_market import open_market

from domain.keys import Keys, partition_of
from features.log_entry import decision_json
from features.market import load_market
from store.key_records import Role

MARKET = REPOSITORY / "examples" / "confirmation" / "market.toml"


@pytest.fixture
def start(redis_url: str, tmp_path: Path) -> Iterator[Any]:
    started: list[GatewayProcess] = []

    def begin(market: Path) -> GatewayProcess:
        open_market(redis_url, load_market(market))
        process = GatewayProcess(market, redis_url, tmp_path / "gateway.log")
        started.append(process)
        process.start()
        return process

    yield begin
    for process in started:
        if process.child is not None:
            process.end(signal.SIGKILL)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0_and_everything_written(start, redis_url, ending):
    gateway = start(GOLDEN)
    decided = [gateway.decide()["decision_id"] for _ in range(5)]
    assert gateway.end(ending) == 0
    with redis.Redis.from_url(redis_url) as raw:
        logged = [json.loads(decision_json(e))["decision_id"] for _, e in raw.xrange(Keys("golden").decisions)]
    assert logged == decided
    assert "Traceback" not in gateway.log.read_text()


def test_kill_9_loses_no_settled_click_and_a_second_start_charges_nothing_twice(start, redis_url):
    gateway = start(GOLDEN)
    offer = gateway.decide()["placements"][0]["offers"][1]
    assert gateway.report("impression", offer["token"])["status"] == "logged"
    assert gateway.report("click", offer["token"]) == {"index": 0, "status": "settled", "charged_micros": 750_000}
    gateway.end(signal.SIGKILL)
    gateway.start()
    assert gateway.report("click", offer["token"]) == {"index": 0, "status": "duplicate", "charged_micros": 0}
    with redis.Redis.from_url(redis_url) as raw:
        _, entry = [e for _, e in raw.xrange(Keys("golden").events(partition_of("alpha-spring")))]
    assert (entry[b"offer_id"], entry[b"charged_micros"]) == (b"alpha-shoes", b"750000")


@pytest.mark.parametrize(("host", "begins"), [("::1", "http://[::1]:"), ("localhost", "http://localhost:")])
def test_it_listens_on_addresses_and_names_and_its_urls_lead_there(redis_url, tmp_path, host, begins):
    open_market(redis_url, load_market(GOLDEN))
    gateway = GatewayProcess(GOLDEN, redis_url.replace("127.0.0.1", "localhost"), tmp_path / "gateway.log", host=host)
    try:
        gateway.start()
        url = gateway.decide()["placements"][0]["offers"][0]["click_url"]
        assert url.startswith(f"{begins}{gateway.port}/v1/c/")
        assert httpx.get(url).status_code == 302
    finally:
        if gateway.child is not None:
            gateway.end(signal.SIGKILL)


def test_it_never_loads_tensorflow_and_stays_small(start):
    gateway = start(MARKET)
    for _ in range(50):
        gateway.decide()
    assert gateway.child is not None
    if sys.platform == "linux":
        maps = Path(f"/proc/{gateway.child.pid}/maps").read_text()
        assert "tensorflow" not in maps
        status = Path(f"/proc/{gateway.child.pid}/status").read_text()
        assert int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) < 250_000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"OFFERRANK_MARKET": "/nowhere/market.toml"}, "/nowhere/market.toml: no such file"),
        ({"OFFERRANK_SECRET": "short"}, "OFFERRANK_SECRET: "),
        ({"OFFERRANK_PORT": "99999"}, "OFFERRANK_PORT: "),
        ({"OFFERRANK_HOST": "0.0.0.0", "OFFERRANK_PUBLIC_URL": "https://ads.example"}, "OFFERRANK_KEYS: "),
        ({"OFFERRANK_HOST": "0.0.0.0", "OFFERRANK_KEYS": "keys.jsonl"}, "OFFERRANK_PUBLIC_URL: "),
        ({"OFFERRANK_KEYS": str(GOLDEN)}, f"{GOLDEN}, line 1: expected "),
        ({"OFFERRANK_HOST": "192.0.2.1", "OFFERRANK_KEYS": "keys.jsonl"}, "network: cannot listen on 192.0.2.1"),
        ({"OFFERRANK_TRUSTED_PROXIES": "the balancer"}, "OFFERRANK_TRUSTED_PROXIES: "),
    ],
)
def test_wrong_settings_end_it_with_2_and_one_line(change, said):
    environment = os.environ | {"OFFERRANK_MARKET": str(GOLDEN), "OFFERRANK_SECRET": "a secret of tests"} | change
    done = subprocess.run(
        [sys.executable, "-m", "serving.gateway"], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1


CURL = '''\
"""As much of curl as docs/api.md uses, for machines that have none."""
import argparse, sys, urllib.error, urllib.request

class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None

p = argparse.ArgumentParser()
p.add_argument("url"); p.add_argument("-s", action="store_true"); p.add_argument("-o"); p.add_argument("-w", default="")
p.add_argument("-H", action="append", default=[]); p.add_argument("-d")
a = p.parse_args()
headers = dict(h.split(": ", 1) for h in a.H)
request = urllib.request.Request(a.url, a.d.encode() if a.d else None, headers)
try:
    answer = urllib.request.build_opener(Stay).open(request)
except urllib.error.HTTPError as e:
    answer = e
if a.o is None:
    sys.stdout.write(answer.read().decode())
url = answer.headers.get("location", "")
sys.stdout.write(a.w.replace("%{http_code}", str(answer.status)).replace("%{redirect_url}", url).replace("\\\\n", "\\n"))
'''


def test_the_examples_of_the_document_run(start, tmp_path):
    gateway = start(MARKET)
    examples = re.findall(r"^```sh\n(.*?)^```", (REPOSITORY / "docs" / "api.md").read_text(), re.MULTILINE | re.DOTALL)
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "python3").symlink_to(sys.executable)
    if shutil.which("curl") is None:
        (tmp_path / "curl.py").write_text(CURL)
        (bin_ / "curl").write_text(
            f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(tmp_path / "curl.py"))} "$@"\n'
        )
        (bin_ / "curl").chmod(0o755)
    script = "set -eu\n" + "\nprintf '\\n---\\n'\n".join(examples)
    keys = {f"{role}_KEY".upper(): key for role, key in gateway.keys.items()}
    environment = gateway.environment | keys | {"GATEWAY": gateway.url, "PATH": f"{bin_}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ready, decision, explained, events, links, wrong = done.stdout.split("\n---\n")

    assert json.loads(ready)["ready"] is True
    assert len(json.loads(decision)["placements"][0]["offers"]) == 3
    candidates = json.loads(explained)["explain"]["candidates"]
    assert {c["reason"]["name"] for c in candidates} >= {"won"}
    assert [r["index"] for r in json.loads(events)["results"]] == [0, 1, 2]
    first, second = links.strip().splitlines()
    assert re.fullmatch(r"302 https?://\S+", first)
    assert second == "404"
    documented = re.search(r"^```json\n(.*?)^```", (REPOSITORY / "docs" / "api.md").read_text(), re.MULTILINE | re.DOTALL)
    assert json.loads(wrong) == json.loads(documented[1])


def test_the_stand_in_for_curl_behaves_like_it(start, tmp_path):
    gateway = start(MARKET)
    (tmp_path / "curl.py").write_text(CURL)

    def call(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, str(tmp_path / "curl.py"), *arguments], capture_output=True, text=True, check=True
        ).stdout

    token = gateway.decide()["placements"][0]["offers"][0]["token"]
    assert call("-s", "-o", "/dev/null", "-w", "%{http_code}\\n", f"{gateway.url}/v1/c/forged") == "404\n"
    assert call("-s", "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", f"{gateway.url}/v1/c/{token}").startswith(
        "302 http"
    )
    body = '{"placements": [{"name": "main", "count": 0}]}'
    headers = ["-H", "content-type: application/json", "-H", f"authorization: Bearer {gateway.keys[Role.SERVER]}"]
    assert "placements[0].count" in call("-s", f"{gateway.url}/v1/decisions", *headers, "-d", body)
