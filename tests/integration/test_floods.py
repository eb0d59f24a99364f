"""Hostile and merely too many clients, over real sockets: nobody takes more of a gateway than the limits say."""

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from gateway_process import GOLDEN, GatewayProcess
from open_market import open_market

from features.market import load_market
from serving.embedded_redis import EmbeddedRedis

PATIENCE_S = 20.0
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
CHUNKED = HEALTH[:-2] + b"transfer-encoding: chunked\r\n\r\n"
CLICK = b"GET /v1/c/forged HTTP/1.1\r\nhost: x\r\n\r\n"
CONNECTIONS = 40


def post(path: str, n_bytes: int) -> bytes:
    return f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {n_bytes}\r\n\r\n".encode()


DECISION = post("/v1/decisions", 32) + b'{"placements":[{"name":"main"}]}'


@pytest.fixture(scope="module")
def own_market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis")).start()
    open_market(server.url, load_market(GOLDEN))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def gateway(own_market: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Its limits are low, so that a test reaches them."""
    log = tmp_path_factory.mktemp("floods") / "gateway.log"
    limits = {"max_connections": CONNECTIONS, "max_waiting_body_bytes": 1 << 20, "request_timeout_s": 1.5}
    process = GatewayProcess(GOLDEN, own_market.url, log, keyless=True, **limits, max_decisions=1, max_events=1)
    process.start()
    yield process
    assert process.end(signal.SIGTERM) == 0
    assert "Traceback" not in log.read_text()


@pytest.fixture
def connect(gateway: GatewayProcess) -> Iterator["type[Client]"]:
    with ExitStack() as opened:

        class Connected(Client):
            def __init__(self) -> None:
                super().__init__(gateway.port)
                opened.callback(self.socket.close)

        yield Connected


class Client:
    """A client that minds no rules."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)

    def send(self, data: bytes) -> "Client":
        self.socket.sendall(data)
        return self

    def send_without_end(self, data: bytes) -> "Client":
        """Until the other side has had enough."""
        deadline = time.monotonic() + PATIENCE_S
        try:
            while time.monotonic() < deadline:
                self.socket.sendall(data)
        except OSError:
            return self
        raise AssertionError("the gateway reads on and on")

    def answers(self) -> str:
        """All of them; the connection has ended."""
        received = bytearray()
        try:
            while piece := self.socket.recv(65_536):
                received += piece
        except ConnectionError:
            pass
        return received.decode()

    def answer(self, count: int = 1) -> str:
        """So many of them; the connection may live on."""
        received = bytearray()
        while received.count(b"HTTP/1.1 ") < count or not received.endswith(b"}"):
            piece = self.socket.recv(65_536)
            assert piece, received
            received += piece
        return received.decode()


def statuses(answers: str) -> list[int]:
    return [int(part[:3]) for part in answers.split("HTTP/1.1 ")[1:]]


def test_a_header_without_end_ends_the_connection_and_nobody_else_waits(gateway, connect):
    hostile = connect().send(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-long: ").send_without_end(b"a" * 65_536)
    assert statuses(hostile.answers()) in ([], [431])  # what a client reads after a reset is up to its system
    assert httpx.get(f"{gateway.url}/healthz").status_code == 200


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-long: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n" + b"a: b\r\n" * 4000 + b"\r\n",
    ],
)
def test_a_head_beyond_16_kib_is_431_even_when_it_comes_in_one_piece(connect, head):
    answer = connect().send(head).answers()
    assert statuses(answer) == [431]
    assert '{"error":{"field":"headers"' in answer


def test_a_head_of_15_kib_is_fine(connect):
    assert statuses(connect().send(HEALTH[:-2] + b"x-long: " + b"a" * 15_000 + b"\r\n\r\n").answer()) == [200]


@pytest.mark.parametrize(
    "begun",
    [b"G", b"POST /v1/decisions HTTP/1.1\r\nhost: x\r\ncontent-", DECISION[:-1]],
    ids=["a byte", "half a head", "no last byte"],
)
def test_half_a_request_is_408_in_the_end(connect, begun):
    clients = [connect().send(begun) for _ in range(10)]
    assert [statuses(c.answers()) for c in clients] == [[408]] * 10


def test_a_connection_that_asks_nothing_ends_without_a_word(connect):
    assert connect().answers() == ""


def test_a_request_that_drips_has_no_more_time_than_others(connect):
    client = connect()
    for byte in DECISION:
        try:
            client.send(bytes([byte]))
        except OSError:
            return
        time.sleep(0.05)
    assert statuses(client.answers()) == [408]


@pytest.mark.parametrize(
    ("head", "then"),
    [
        (post("/v1/decisions", 10**10), b"a" * 65_536),
        (CHUNKED, b"1\r\na\r\n" * 10_000),
        (CHUNKED + b"1;", b"a" * 65_536),
        (CHUNKED + b"0\r\n", b"a: b\r\n" * 10_000),
    ],
    ids=["announced", "chunks", "chunk extension", "trailers"],
)
def test_a_body_without_end_ends_the_connection(connect, head, then):
    connect().send(head).send_without_end(then)


def test_bodies_beyond_the_memory_for_them_are_refused_until_there_is_room(gateway, connect):
    begun = post("/v1/events", 200_002) + b" " * 200_000
    waiting = [connect().send(begun) for _ in range(5)]
    answer = connect().send(begun).answers()
    assert statuses(answer) == [503]
    assert "retry-after: 1" in answer
    for client in waiting:
        assert statuses(client.send(b"{}").answer()) == [422]
    assert statuses(connect().send(begun + b"{}").answer()) == [422]


def test_idle_and_half_sent_connections_make_way_for_new_ones(connect):
    idle = connect().send(HEALTH)
    assert statuses(idle.answer()) == [200]
    half_sent = [connect().send(b"GET / HT") for _ in range(CONNECTIONS)]
    assert idle.answers() == ""
    # The rest is too young to be told from a client with a slow line.
    assert "retry-after: 1" in connect().answers()
    time.sleep(1.0)
    assert statuses(connect().send(HEALTH).answer()) == [200]
    assert statuses(half_sent[0].answers()) == [408]


def test_beyond_what_may_be_under_way_503_comes_before_any_work_and_health_is_answered(gateway, connect):
    # All at once, so that the second is there before the first is done.
    answers = connect().send(DECISION + DECISION + HEALTH).answer(3)
    assert statuses(answers) == [200, 503, 200]
    assert "retry-after: 1" in answers
    assert statuses(connect().send(CLICK + CLICK + DECISION).answer(3)) == [404, 503, 200]
    assert statuses(connect().send(DECISION).answer()) == [200]
    shed = httpx.get(f"{gateway.url}/metrics").text
    assert 'offerrank_shed_total{reason="decisions"} 1.0' in shed
    assert 'offerrank_shed_total{reason="events"} 1.0' in shed


def test_a_page_can_read_that_it_was_shed_and_when_to_try_again(connect):
    def of_page(request: bytes, origin: str = "http://localhost:3000") -> bytes:
        return request.replace(b"host: x\r\n", f"host: x\r\nOrigin: {origin}\r\n".encode())

    def allowed(answers: str) -> list[bool]:
        """Of each answer, whether a browser shows it to its page."""
        one_by_one = [a.lower() for a in answers.split("HTTP/1.1 ")[1:]]
        assert all("retry-after" in a.split("\r\naccess-control-expose-headers:")[1] for a in one_by_one)
        assert all("\r\nvary: origin\r\n" in a for a in one_by_one)
        return ["\r\naccess-control-allow-origin: http://localhost:3000\r\n" in a for a in one_by_one]

    page, stranger = of_page(DECISION), of_page(DECISION, "https://evil.example")
    shed = connect().send(page + page + stranger).answer(3)
    assert (statuses(shed), allowed(shed)) == ([200, 503, 503], [True, True, False])
    # A gateway that gives a body no room, or has no time for one, ends the connection with the answer.
    begun = post("/v1/events", 200_002) + b" " * 200_000
    waiting = [connect().send(begun) for _ in range(5)]
    full = connect().send(of_page(begun)).answers()
    assert (statuses(full), allowed(full)) == ([503], [True])
    late = connect().send(of_page(DECISION[:-1])).answers()
    assert (statuses(late), allowed(late)) == ([408], [True])
    for client in waiting:
        client.socket.close()
    # Without a preflight there is no request that could be told to wait.
    asks = b"access-control-request-method: POST\r\naccess-control-request-headers: content-type\r\n\r\n"
    preflight = of_page(b"OPTIONS /v1/decisions HTTP/1.1\r\nhost: x\r\n" + asks)
    assert statuses(connect().send(DECISION + preflight + HEALTH).answer(3)) == [200, 200, 200]


def test_clients_that_leave_give_back_their_place(connect):
    for _ in range(20):
        connect().send(DECISION).socket.close()
        connect().send(DECISION + DECISION).socket.close()
    deadline = time.monotonic() + PATIENCE_S
    while statuses(connect().send(DECISION).answer()) != [200]:
        assert time.monotonic() < deadline


def test_a_hundred_requests_ahead_of_their_answers_are_too_many(connect):
    assert statuses(connect().send(HEALTH * 100).answers())[-1] == 503


@pytest.mark.parametrize(
    "noise", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"SSH-2.0-x\r\n", b"GET /\x00 HTTP/1.1\r\n\r\n"]
)
def test_what_is_not_http_is_400(connect, noise):
    assert statuses(connect().send(noise).answers()) == [400]


def test_a_half_sent_body_does_not_hold_up_the_end(own_market, tmp_path):
    gateway = GatewayProcess(GOLDEN, own_market.url, tmp_path / "gateway.log", keyless=True)
    gateway.start()
    client = Client(gateway.port).send(DECISION[:-1])
    time.sleep(0.1)
    assert gateway.end(signal.SIGTERM) == 0
    assert statuses(client.answers()) == [503]
    client.socket.close()
    assert "Cancel" not in Path(gateway.log).read_text()
