"""An OTLP collector that keeps what it is sent."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

PATIENCE_S = 20.0


@dataclass(frozen=True)
class Span:
    service: str
    name: str
    trace: str
    id: str
    above: str
    said: dict[str, Any]
    begin_ns: int
    end_ns: int

    @classmethod
    def of(cls, service: str, span: dict[str, Any]) -> Self:
        said = {a["key"]: next(iter(a["value"].values()), None) for a in span.get("attributes", [])}
        times = (int(span[f"{which}TimeUnixNano"]) for which in ("start", "end"))
        return cls(service, span["name"], span["traceId"], span["spanId"], span.get("parentSpanId", ""), said, *times)


@dataclass
class Collector:
    url: str
    bodies: list[bytes] = field(default_factory=list)

    @property
    def spans(self) -> list[Span]:
        found = []
        for body in self.bodies:
            for of_service in json.loads(body)["resourceSpans"]:
                (name,) = (a["value"] for a in of_service["resource"]["attributes"] if a["key"] == "service.name")
                found += [Span.of(name["stringValue"], s) for scope in of_service["scopeSpans"] for s in scope["spans"]]
        return found

    def until(self, ready: Callable[[list[Span]], object]) -> list[Span]:
        """What came, once enough has."""
        deadline = time.monotonic() + PATIENCE_S
        while not ready(self.spans):
            assert time.monotonic() < deadline, self.spans
            time.sleep(0.05)
        return self.spans


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            collector.bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()
