"""The page as a process of its own, on a free port."""

import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import orjson
from log_entries import MARKET_TOML

from store.ports import free_port


class PageProcess:
    """`python -m monitoring.dashboard` on the corner market."""

    def __init__(self, redis_url: str, directory: Path, **settings: object) -> None:
        market = directory / "market.toml"
        if not market.exists():
            market.write_text(MARKET_TOML)
        self.port = int(str(settings.pop("port", 0))) or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.output = directory / "page.log"
        chosen = {"market": market, "redis_url": redis_url, "port": self.port, "page_bucket_s": 1} | settings
        env = os.environ | {f"OFFERRANK_{name.upper()}": str(value) for name, value in chosen.items()}
        with self.output.open("ab") as output:
            command = [sys.executable, "-m", "monitoring.dashboard"]
            self.process = subprocess.Popen(command, env=env, stdout=output, stderr=output)

    def __enter__(self) -> "PageProcess":
        deadline = time.monotonic() + 60
        while True:
            assert self.process.poll() is None, self.output.read_text()
            try:
                self.get("/healthz")
                return self
            except OSError:
                assert time.monotonic() < deadline, self.output.read_text()
                time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def get(self, path: str) -> Any:
        """Decoded JSON of a path."""
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return orjson.loads(answer.read())

    def summary_when(self, true: Any, within_s: float = 60) -> Any:
        """The first summary of which `true` holds."""
        deadline = time.monotonic() + within_s
        while not true(summary := self.get("/api/summary")):
            assert time.monotonic() < deadline, summary
            time.sleep(0.05)
        return summary
