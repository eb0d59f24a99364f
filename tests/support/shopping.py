"""Shoppers who ask a running gateway for pages and click whatever they are shown."""

import threading
import time
from typing import Any

import httpx


class Shoppers:
    """Ask for pages and click every offer until told to stop; remember what the gateway said it had accepted."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self.key = key
        self.stop = threading.Event()
        self.accepted: dict[str, dict[str, Any]] = {}

    def shop(self) -> None:
        with httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {self.key}"}, timeout=2.0) as http:
            while not self.stop.is_set():
                page = self._post(http, "/v1/decisions", {"placements": [{"name": "main"}]})
                for offer in (page or {"placements": [{"offers": []}]})["placements"][0]["offers"]:
                    self._click(http, offer)

    def _click(self, http: httpx.Client, offer: dict[str, Any]) -> None:
        for _ in range(40):  # a page retries until it is answered, as the API promises is safe
            events = [{"type": event, "token": offer["token"]} for event in ("impression", "click")]
            answer = self._post(http, "/v1/events", {"events": events})
            if answer is not None:
                assert len(answer["results"]) == 2, answer
                self.accepted[offer["impression_id"]] = answer["results"][1]
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
