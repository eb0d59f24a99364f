"""The gate over the gateway: who is admitted, who has had time enough, and that nothing is held for ever."""

import asyncio
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response
from uvicorn.server import ServerState

from serving.gateway.admission import ANSWER_S, CROWDED_S, IDLE_S, LATE_S, TICK_S, Admitted, Gate, Kind, Limits, Phase
from serving.gateway.cors import PageOrigins
from serving.gateway.protocol import BUSY, Leaving, LimitedProtocol
from serving.gateway.wire import HttpError, read_json

LIMITS = Limits(connections=10, head_bytes=1024, body_bytes=100_000, request_s=5.0, decisions=2, events=3)


class Clock:
    """Stands still unless told otherwise."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass(eq=False)
class Client:
    """Notes how it ended."""

    ended: list[Phase] = field(default_factory=list)

    def time_out(self, phase: Phase) -> None:
        self.ended.append(phase)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(clock: Clock) -> Gate:
    return Gate(LIMITS, clock)


@pytest.mark.parametrize(
    ("method", "url", "kind"),
    [
        (b"POST", b"/v1/decisions", Kind.DECISION),
        (b"POST", b"/v1/events", Kind.EVENT),
        (b"GET", b"/v1/c/token", Kind.EVENT),
        (b"GET", b"/v1/i/token?x=1", Kind.EVENT),
        (b"GET", b"/nowhere", Kind.EVENT),
        (b"GET", b"/healthz", Kind.OTHER),
        (b"GET", b"/readyz", Kind.OTHER),
        (b"GET", b"/metrics", Kind.OTHER),
        (b"OPTIONS", b"/v1/decisions", Kind.OTHER),
    ],
)
def test_requests_are_told_apart_by_path_and_preflights_by_method(method, url, kind):
    assert Kind.of(method, url) is kind


def test_each_kind_has_its_own_room_and_health_needs_none(gate):
    for kind, most in ((Kind.DECISION, 2), (Kind.EVENT, 3)):
        requests = [Admitted(kind) for _ in range(most)]
        for request in requests:
            assert gate.has_room(kind)
            gate.enter(request)
        assert not gate.has_room(kind)
        assert gate.has_room(Kind.OTHER)
        gate.leave(requests[0])
        gate.leave(requests[0])
        assert gate.has_room(kind)
        gate.enter(Admitted(kind))
        assert not gate.has_room(kind)


def test_a_loop_that_is_late_sheds_decisions_beyond_a_few_and_no_events(gate, clock):
    clock.now_s += TICK_S + LATE_S + 0.01
    assert gate.has_room(Kind.DECISION)  # there is nothing to shed
    gate.tick()
    clock.now_s += TICK_S
    gate.tick()
    gate.enter(Admitted(Kind.DECISION))
    clock.now_s += TICK_S + LATE_S + 0.01  # no tick came: whatever runs now holds up everything
    assert (gate.has_room(Kind.DECISION), gate.has_room(Kind.EVENT)) == (False, True)
    gate.tick()  # it came, late: what waited meanwhile is read only now
    assert not gate.has_room(Kind.DECISION)
    clock.now_s += TICK_S
    gate.tick()
    assert gate.has_room(Kind.DECISION)


@pytest.mark.parametrize(("phase", "longest_s"), [(Phase.REQUEST, 5.0), (Phase.ANSWER, ANSWER_S), (Phase.IDLE, IDLE_S)])
def test_every_wait_ends(gate, clock, phase, longest_s):
    first, second = Client(), Client()
    gate.wait(first, phase)
    clock.now_s += longest_s / 2
    gate.wait(second, phase)
    clock.now_s += longest_s / 2
    gate.tick()
    assert (first.ended, second.ended) == ([phase], [])
    clock.now_s += longest_s / 2
    gate.wait(second, phase)  # it began anew
    gate.tick()
    assert second.ended == []


def test_the_longest_idle_makes_way_first_then_who_has_sent_half_a_request_for_long(gate, clock):
    half_sent, idle, busy = Client(), [Client(), Client()], Client()
    gate.wait(half_sent, Phase.REQUEST)
    for client in idle:
        gate.wait(client, Phase.IDLE)
    gate.wait(busy, Phase.ANSWER)
    assert gate.make_room()
    assert (idle[0].ended, idle[1].ended, half_sent.ended) == ([Phase.IDLE], [], [])
    assert gate.make_room()
    assert not gate.make_room()  # it may yet be sending
    clock.now_s += CROWDED_S
    assert gate.make_room()
    assert half_sent.ended == [Phase.REQUEST]
    assert not gate.make_room()
    assert busy.ended == []


def request(path: str, body: bytes, *, chunked: bool = False) -> bytes:
    framing = "transfer-encoding: chunked" if chunked else f"content-length: {len(body)}"
    content = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked and body else b"0\r\n\r\n" if chunked else body
    return f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{framing}\r\n\r\n".encode() + content


WHOLE = st.builds(
    request,
    st.sampled_from(["/v1/decisions", "/v1/events", "/healthz"]),
    st.binary(max_size=200) | st.just(b"a" * 60_000) | st.just(b"a" * 300_000),
    chunked=st.booleans(),
)
NOISE = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\nx: ",
        b"GET /v1/i/a HTTP/1.1\r\norigin: https://shop.example\r\n",
        b"\r\n\r\n",
        b"\x00",
        b"GET /" + b"a" * 2000,
        b"5\r\nabc",
        b"POST / HTTP/1.0\r\n\r\n",
    ]
)


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Takes its time, reads a body or does not, and answers."""
    asked = Request(scope, receive)
    try:
        if "healthz" not in asked.url.path:
            await read_json(asked)
        await asyncio.sleep(0.001)
        answer = Response("{}")
    except HttpError as e:
        answer = e.response()
    await answer(scope, receive, send)


async def flood(conversations: list[list[bytes]], gate: Gate) -> None:
    """Clients side by side, each sending its pieces and then leaving without a word."""
    config = uvicorn.Config(Leaving(application, gate), log_config=None, access_log=False, lifespan="off")
    config.load()
    state, loop = ServerState(), asyncio.get_running_loop()
    busy = PageOrigins(BUSY, lambda origin: origin == "https://shop.example")
    create = partial(LimitedProtocol, gate, busy, config=config, server_state=state, app_state={}, _loop=loop)
    server = await loop.create_server(create, "127.0.0.1", 0)

    async def converse(pieces: list[bytes]) -> None:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
        except OSError:
            pass
        writer.transport.abort()

    await asyncio.gather(*(converse(pieces) for pieces in conversations))
    server.close()
    while state.connections or state.tasks:
        await asyncio.sleep(0.002)
    await server.wait_closed()


CUTS = st.lists(st.floats(0, 1), max_size=3)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.lists(WHOLE | NOISE, min_size=1, max_size=12), CUTS), min_size=1, max_size=6))
def test_whatever_is_sent_and_wherever_it_is_cut_nothing_stays_taken(conversations):
    cut = []
    for parts, cuts in conversations:
        whole = b"".join(parts)
        ends = [0, *sorted(round(c * len(whole)) for c in cuts), len(whole)]
        cut.append([whole[a:b] for a, b in pairwise(ends)])
    gate = Gate(replace(LIMITS, connections=4))
    asyncio.run(flood(cut, gate))
    assert gate.held() == {"decisions": 0, "events": 0, "other": 0, "body_bytes": 0, "request": 0, "answer": 0, "idle": 0}
