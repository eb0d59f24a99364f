"""A gateway that does as a test says, and pages of a shop on the same port that load the web SDK."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import sdk

PATIENCE_S = 30.0


def offer(number: int, **changes: Any) -> dict[str, Any]:
    """One offer of an answer."""
    made = {
        "position": number,
        "impression_id": f"i{number}",
        "offer_id": f"o{number}",
        "campaign_id": "c",
        "advertiser": f"a{number}",
        "title": f"Offer {number}",
        "body": "Ten percent off.",
        "impression_url": f"/v1/i/t{number}",
        "click_url": f"/v1/c/t{number}",
        "token": f"t{number}",
    }
    return made | changes


class StubGateway:
    """Remembers what it was asked and told.

    Attributes:
      offers: of every placement; without any there is a reason.
      decision: status of answers to decisions; a text is answered as it is.
      busy: how many more requests of each route are answered 503.
      open: unset, decisions wait.
    """

    def __init__(self) -> None:
        self.offers = [offer(0), offer(1)]
        self.decision: int | str = 200
        self.busy = {"decisions": 0, "events": 0}
        self.open = threading.Event()
        self.open.set()
        self.pages: dict[str, tuple[str, str]] = {}
        self.asked: list[dict[str, Any]] = []
        self.told: list[dict[str, Any]] = []
        self.url = ""

    def page(self, name: str, body: str, policy: str = "") -> str:
        """Address of a page with this body and Content-Security-Policy."""
        self.pages[f"/{name}"] = (f"<!doctype html><html lang=en><title>{name}</title><body>{body}", policy)
        return f"{self.url}/{name}"

    def events(self, kind: str) -> list[str]:
        """Tokens of accepted events of a type."""
        return [t for e in self.told if e["type"] == kind for t in e.get("tokens", [e.get("token")])]

    def until_asked(self, times: int) -> None:
        """Waits until so many decisions have been asked for."""
        deadline = time.monotonic() + PATIENCE_S
        while len(self.asked) < times:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def until_told(self, kind: str, tokens: list[str]) -> None:
        """Waits until events of a type have come for exactly these tokens, in any order."""
        deadline = time.monotonic() + PATIENCE_S
        while sorted(self.events(kind)) != sorted(tokens):
            assert time.monotonic() < deadline, self.told
            time.sleep(0.02)

    @contextmanager
    def serving(self) -> Iterator["StubGateway"]:
        """On a free port, while the block lasts."""
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = urlsplit(self.path).path
                if path == "/sdk/offerrank.js":
                    self.answer(200, sdk.SCRIPT.read_bytes(), "text/javascript")
                elif path in stub.pages:
                    body, policy = stub.pages[path]
                    self.answer(200, body.encode(), "text/html; charset=utf-8", policy)
                else:
                    self.answer(200, b"<title>advertiser</title>", "text/html")

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                route = urlsplit(self.path).path.rpartition("/")[2]
                if stub.busy[route] > 0:
                    stub.busy[route] -= 1
                    self.answer(503, b"{}", retry_after="0")
                elif route == "events":  # an event counts once, however often it is sent
                    for event in body["events"]:
                        if event not in stub.told:
                            stub.told.append(event)
                    results = [{"index": i, "status": "logged", "charged_micros": 0} for i in range(len(body["events"]))]
                    self.answer(200, json.dumps({"results": results, "errors": []}).encode())
                else:
                    stub.asked.append(body)
                    number = len(stub.asked)
                    stub.open.wait(PATIENCE_S)
                    self.answer(*stub.decided(body, number))

            def answer(
                self, status: int, body: bytes, kind: str = "application/json", policy: str = "", retry_after: str = ""
            ) -> None:
                self.send_response(status)
                for name, value in (
                    ("content-type", kind),
                    ("content-length", str(len(body))),
                    ("access-control-allow-origin", "*"),
                    ("access-control-expose-headers", "retry-after"),
                    ("content-security-policy", policy),
                    ("retry-after", retry_after),
                ):
                    if value:
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Says nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self.open.set()
            server.shutdown()
            thread.join()
            server.server_close()

    def decided(self, body: dict[str, Any], number: int) -> tuple[int, bytes]:
        """Status and body of the answer to a request for offers; tokens say which request it was."""
        if isinstance(self.decision, str):
            return 200, self.decision.encode()
        if self.decision != 200:
            return self.decision, b'{"error": {"field": "context.nonsense", "message": "unknown"}}'
        reason = None if self.offers else {"code": 100, "name": "below_floor"}
        offers = [o | {"token": f"{o['token']}.{number}"} for o in self.offers]
        placements = [{"name": p["name"], "offers": offers, "reason": reason} for p in body["placements"]]
        return 200, json.dumps({"decision_id": body["id"], "shopper_key": "made", "placements": placements}).encode()
