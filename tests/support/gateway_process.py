"""A gateway in a process of its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from domain.addresses import host_port
from offerrank.stack import embedded_keys
from store.key_records import Role
from store.ports import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
GOLDEN = REPOSITORY / "tests" / "golden" / "market.toml"
PATIENCE_S = 60.0


class GatewayProcess:
    """`python -m serving.gateway` on a free port, with a key of each role unless there is to be none."""

    def __init__(self, market: Path, redis_url: str, log: Path, *, keyless: bool = False, **settings: object) -> None:
        self.port = free_port()
        self.url = f"http://{host_port(str(settings.get('host', '127.0.0.1')), self.port)}"
        self.log = log
        self.keys = {} if keyless else embedded_keys(log.parent)
        self.headers = {} if keyless else {"authorization": f"Bearer {self.keys[Role.SERVER]}"}
        self.environment = os.environ | {
            "OFFERRANK_MARKET": str(market),
            "OFFERRANK_REDIS_URL": redis_url,
            "OFFERRANK_SECRET": "a secret of tests",
            **({} if keyless else {"OFFERRANK_KEYS": str(log.parent / "keys.jsonl")}),
            "OFFERRANK_PORT": str(self.port),
            **{f"OFFERRANK_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "serving.gateway"], cwd=REPOSITORY, env=self.environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                if httpx.get(f"{self.url}/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            assert self.child.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def end(self, with_signal: signal.Signals) -> int:
        assert self.child is not None
        self.child.send_signal(with_signal)
        code = self.child.wait(PATIENCE_S)
        self.child = None
        return code

    def decide(self) -> dict[str, Any]:
        body = {"placements": [{"name": "main"}], "include_pricing": True}
        response = httpx.post(f"{self.url}/v1/decisions", json=body, headers=self.headers)
        assert response.status_code == 200, response.text
        return dict(response.json())

    def report(self, event: str, token: str) -> dict[str, Any]:
        body = {"events": [{"type": event, "token": token}]}
        response = httpx.post(f"{self.url}/v1/events", json=body, headers=self.headers)
        assert response.status_code == 200, response.text
        return dict(response.json()["results"][0])
