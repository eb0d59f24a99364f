"""HTTP/1.1 within limits: uvicorn's httptools protocol, which has none, asking the gate before it keeps or starts anything."""

from http import HTTPStatus
from typing import Any

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from monitoring import metrics
from serving.gateway.admission import Admitted, Gate, Kind, Phase
from serving.gateway.cors import Header, PageOrigins
from serving.gateway.wire import MAX_BODY

RETRY_AFTER_S = 1
MOST_PIPELINED = 8
"""Requests that one connection may send ahead of the answers."""
MOST_SENT = 8 * MAX_BODY
"""Bytes of one body on the wire: chunks cost, too."""

ADMITTED = "offerrank.admitted"
"""Where the ASGI scope keeps what a request holds."""


class _Refused(Exception):
    """Stops the parser; the client has its answer."""


class _Refusal:
    """An answer that needs no application."""

    def __init__(self, status: int, field: str, message: str) -> None:
        self.status = status
        self.body = orjson.dumps({"error": {"field": field, "message": message}})
        self.headers: list[Header] = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(self.body)).encode()),
        ]
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            self.headers.append((b"retry-after", str(RETRY_AFTER_S).encode()))

    def last_words(self, further: list[Header]) -> bytes:
        """All of it, for a connection that ends."""
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}".encode(), b"connection: close"]
        lines += [name + b": " + value for name, value in (*self.headers, *further)]
        return b"\r\n".join([*lines, b"", self.body])

    async def __call__(self, _scope: Any, _receive: Any, send: Any) -> None:
        """As an application, for a connection that lives on."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


BUSY = _Refusal(503, "server", "too much to do at the moment: try again")
FULL = _Refusal(503, "body", "too many bodies at the moment: try again")
TOO_SLOW = _Refusal(408, "request", "the request did not arrive in time")
TOO_LONG = _Refusal(431, "headers", "expected a shorter request line and shorter headers")
TOO_LARGE = _Refusal(413, "body", f"expected at most {MAX_BODY} bytes")
NOT_HTTP = _Refusal(400, "request", "expected a request of HTTP")


class Leaving:
    """Gives back what a request holds once the application is done with it, whatever became of its client."""

    def __init__(self, app: Any, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Passes everything on as it is."""
        try:
            await self._app(scope, receive, send)
        finally:
            if scope["type"] == "http":
                self._gate.leave(scope[ADMITTED])


class LimitedProtocol(HttpToolsProtocol):
    """One connection.

    Args:
      busy: BUSY, readable by the pages that may send a key.
    """

    def __init__(self, gate: Gate, busy: PageOrigins, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._gate = gate
        self._busy = busy
        self._admitted_app = self.app
        self._request = Admitted(Kind.OTHER)
        self._running: RequestResponseCycle | None = None
        self._in_request = self._in_head = self._ended = False
        self._head_bytes = self._sent_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """Makes room for the newcomer, or turns it away."""
        super().connection_made(transport)
        self._gate.wait(self, Phase.REQUEST)
        if len(self.connections) > self._gate.limits.connections and not self._gate.make_room():
            self._refuse("connections", BUSY)

    def connection_lost(self, exc: Exception | None) -> None:
        """Requests whose turn never came give back what they hold; the others do so when they are done."""
        self._gate.forget(self)
        self._hang_up()
        for cycle, _ in self.pipeline:
            self._gate.leave(cycle.scope[ADMITTED])  # type: ignore[literal-required]
        self.pipeline.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """As uvicorn's, within limits, and without a line in the log for every stranger's mistake."""
        if self._ended:
            return
        self._unset_keepalive_if_required()
        in_request, in_head = self._in_request, self._in_head
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # answered like any other request
        except httptools.HttpParserError:
            if not self._ended:
                self._refuse("malformed", NOT_HTTP)
            return
        # A name or value is handed on when it is complete, so what may grow without end is counted as it comes. The piece in
        # which a request begins does not count: it is one read, and part of it may be the request before.
        if in_request and self._in_request:
            self._sent_bytes += len(data)
            if in_head and self._in_head and self._sent_bytes > self._gate.limits.head_bytes:
                self._refuse("head", TOO_LONG)
            elif self._sent_bytes > MOST_SENT:
                self._refuse("body", TOO_LARGE)

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._in_request = self._in_head = True
        self._head_bytes = self._sent_bytes = 0
        self._gate.wait(self, Phase.REQUEST)

    def on_url(self, url: bytes) -> None:
        """Part of the request line."""
        super().on_url(url)
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, for which there is no use."""
        if self._in_head:
            super().on_header(name, value)
            self._count_head(len(name) + len(value) + len(": \r\n"))

    def _count_head(self, n_bytes: int) -> None:
        self._head_bytes += n_bytes
        if self._head_bytes > self._gate.limits.head_bytes:
            self._refuse("head", TOO_LONG)
            raise _Refused

    def on_headers_complete(self) -> None:
        """Starts the application, or another one that has no time."""
        if len(self.pipeline) >= MOST_PIPELINED:
            self._refuse("connections", BUSY)
            raise _Refused
        self._in_head = False
        self._request = self.scope[ADMITTED] = Admitted(  # type: ignore[literal-required]
            Kind.of(self.parser.get_method(), self.url)
        )
        if self._gate.has_room(self._request.kind):
            self.app = self._admitted_app
        else:
            metrics.SHED.labels(self._request.kind.value).inc()
            self.app = self._busy
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Part of a body, for which there must be room."""
        if self.app is not self._busy and not self.cycle.response_complete and not self._gate.take(self._request, len(body)):
            self._refuse("body", FULL)
            raise _Refused
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The last byte of a request: from here on it is work, and counts."""
        if self.app is not self._busy and not self.cycle.response_complete:
            if not self._gate.has_room(self._request.kind):  # many heads came first, then their bodies all at once
                self._refuse(self._request.kind.value, BUSY)
                raise _Refused
            self._gate.enter(self._request)
        self._in_request = False
        self._gate.wait(self, Phase.IDLE if self.cycle.response_complete else Phase.ANSWER)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The last byte of an answer."""
        super().on_response_complete()
        if not self._in_request and not self._ended:
            self._gate.wait(self, Phase.ANSWER if self.pipeline else Phase.IDLE)

    def time_out(self, phase: Phase) -> None:
        """Tells a client that was too slow with its request; one that does not read its answer is cut off."""
        if phase is Phase.REQUEST:
            self._refuse(None, TOO_SLOW if self._in_request else None)
        else:
            self._ended = True
            self.transport.abort()

    def shutdown(self) -> None:
        """The gateway ends: what is under way is answered, the rest of a request is not waited for."""
        if self._in_request:
            self._refuse(None, BUSY)
        else:
            super().shutdown()

    def _refuse(self, reason: str | None, answer: _Refusal | None) -> None:
        """The last this connection hears. Work on a request of its, if there is any, finds the client gone."""
        if reason is not None:
            metrics.SHED.labels(reason).inc()
        self._ended = True
        running, in_body = self._running, self._in_request and not self._in_head
        answered = running is not None and running.response_started
        answered_whole = running is not None and running.response_complete and not (in_body and running is self.cycle)
        if answer is not None and (answered_whole or not answered):
            of_page = self._busy.headers_for(self.url, self.headers) if self._in_request else []
            self.transport.write(answer.last_words(of_page))
        self._hang_up()
        self.transport.close()
        self._gate.wait(self, Phase.ANSWER)  # cut off if it does not take the rest

    def _hang_up(self) -> None:
        """The application learns that there is nobody to answer; uvicorn tells it only of the last of several requests."""
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)
