"""Shoppers who ask a running gateway for pages and click whatever they are shown."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx


class Shoppers:
    """Ask for pages and click every offer; remember what the gateway said it had accepted, and of which."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self.key = key
        self.accepted: dict[str, dict[str, Any]] = {}
        self._stop = threading.Event()
        self._running: list[Future[None]] = []

    @contextmanager
    def shopping(self, at_once: int) -> Iterator[None]:
        """They shop until the block is left."""
        with ThreadPoolExecutor(at_once) as pool:
            self._running = [pool.submit(self._shop) for _ in range(at_once)]
            try:
                yield
            finally:
                self._stop.set()
        self.check()

    def check(self) -> None:
        """Raises what ended one of them before its time: an answer that the API does not promise."""
        for one in self._running:
            if one.done():
                one.result()

    def _shop(self) -> None:
        with httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {self.key}"}, timeout=2.0) as http:
            while not self._stop.is_set():
                page = self._post(http, "/v1/decisions", {"placements": [{"name": "main"}]})
                for offer in (page or {"placements": [{"offers": []}]})["placements"][0]["offers"]:
                    self._click(http, offer)

    def _click(self, http: httpx.Client, offer: dict[str, Any]) -> None:
        for _ in range(40):  # a page retries until it is answered, as the API promises is safe
            events = [{"type": event, "token": offer["token"]} for event in ("impression", "click")]
            answer = self._post(http, "/v1/events", {"events": events})
            if answer is not None:
                assert len(answer["results"]) == 2, answer
                self.accepted[offer["impression_id"]] = answer["results"][1] | {"offer_id": offer["offer_id"]}
                return
            time.sleep(0.25)

    @staticmethod
    def _post(http: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        try:
            answer = http.post(path, json=body)
        except httpx.HTTPError:
            return None
        assert answer.status_code in (200, 503), answer.text
        return answer.json() if answer.status_code == 200 else None
