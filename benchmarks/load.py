"""An open-loop HTTP load generator that costs little, because it shares the machine with what it measures.

A process of its own, `python -m benchmarks.load`: keep-alive connections written by hand, requests encoded beforehand,
answers only counted. Each latency runs from the moment its request was due, not from when it could be sent, so a
server that stalls is charged for everybody who had to wait (no coordinated omission).
"""

import asyncio
import gc
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import orjson
import uvloop

CONNECTIONS = 32
ANSWER_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Load:
    """What came back: latencies in ms of answers with status 200, the rest counted."""

    latency_ms: list[float]
    errors: int
    degraded: int
    seconds: float
    cpu_share: float
    """Of one core, used by the generator itself."""


class _Connection(asyncio.Protocol):
    """One keep-alive connection: one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[bytes] | None = None
        self._received = bytearray()
        self._length = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def connection_lost(self, _: Exception | None) -> None:
        self.transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("closed by the server"))

    async def send(self, request: bytes) -> bytes:
        """Head and body of the answer."""
        if self.transport is None:
            raise ConnectionError("not connected")
        self._received.clear()
        self._length = -1
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._length < 0:
            head = self._received.find(b"\r\n\r\n")
            if head < 0:
                return
            start = self._received.lower().find(b"content-length:", 0, head) + 15
            self._length = head + 4 + int(self._received[start : self._received.index(b"\r", start)])
        if len(self._received) >= self._length and self._answer is not None and not self._answer.done():
            self._answer.set_result(bytes(self._received))


class _Pool:
    """Connections, each used by one request at a time."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._idle: deque[_Connection] = deque()
        self._room = asyncio.Semaphore(CONNECTIONS)

    async def send(self, request: bytes) -> bytes:
        async with self._room, asyncio.timeout(ANSWER_TIMEOUT_S):
            connection = self._idle.pop() if self._idle else None
            if connection is None or connection.transport is None:
                _, connection = await asyncio.get_running_loop().create_connection(_Connection, *self._address)
            answer = await connection.send(request)
            self._idle.append(connection)
            return answer


def encode(host: str, port: int, key: str, body: bytes) -> bytes:
    """A POST /v1/decisions as it goes over the wire."""
    lines = (
        "POST /v1/decisions HTTP/1.1",
        f"host: {host}:{port}",
        f"authorization: Bearer {key}",
        "content-type: application/json",
        f"content-length: {len(body)}",
    )
    return "\r\n".join((*lines, "", "")).encode() + body


async def open_loop(host: str, port: int, requests: list[bytes], per_second: float, seconds: float) -> Load:
    """Sends at a fixed rate, whether or not answers come."""
    pool, results = _Pool(host, port), _Results()
    tasks: set[asyncio.Task[None]] = set()
    started_s, cpu_s = time.perf_counter(), time.process_time()
    for i in range(round(per_second * seconds)):
        due_s = started_s + i / per_second
        if (wait_s := due_s - time.perf_counter()) > 0:
            await asyncio.sleep(wait_s)
        task = asyncio.create_task(_one(pool, requests[i % len(requests)], due_s, results))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    sent_s = time.perf_counter() - started_s
    cpu_share = (time.process_time() - cpu_s) / sent_s
    await asyncio.gather(*tasks)
    return Load(results.latency_ms, results.errors, results.degraded, sent_s, cpu_share)


async def closed_loop(host: str, port: int, requests: list[bytes], clients: int, seconds: float) -> Load:
    """As fast as answers come to `clients` that each wait for theirs: what the server can do at most."""
    pool, results = _Pool(host, port), _Results()
    started_s, cpu_s = time.perf_counter(), time.process_time()

    async def client(number: int) -> None:
        i = number
        while (now_s := time.perf_counter()) - started_s < seconds:
            await _one(pool, requests[i % len(requests)], now_s, results)
            i += clients

    await asyncio.gather(*(client(n) for n in range(clients)))
    took_s = time.perf_counter() - started_s
    return Load(results.latency_ms, results.errors, results.degraded, took_s, (time.process_time() - cpu_s) / took_s)


@dataclass(slots=True)
class _Results:
    latency_ms: list[float]
    errors: int
    degraded: int

    def __init__(self) -> None:
        self.latency_ms, self.errors, self.degraded = [], 0, 0


async def _one(pool: _Pool, request: bytes, due_s: float, results: _Results) -> None:
    try:
        answer = await pool.send(request)
    except (OSError, TimeoutError):
        results.errors += 1
        return
    if answer.startswith(b"HTTP/1.1 200"):
        results.latency_ms.append((time.perf_counter() - due_s) * 1000)
        results.degraded += b'"degraded":[]' not in answer
    else:
        results.errors += 1


async def _phases(
    host: str, port: int, key: str, bodies: list[bytes], per_second: float, seconds: float, warm_s: float, most_s: float
) -> None:
    requests = [encode(host, port, key, body) for body in bodies]
    await open_loop(host, port, requests, per_second, warm_s)
    gc.collect()
    gc.freeze()
    print("measuring", flush=True)
    load = await open_loop(host, port, requests, per_second, seconds)
    print(orjson.dumps(asdict(load)).decode(), flush=True)
    most = await closed_loop(host, port, requests, 8, most_s) if most_s else None
    print(orjson.dumps(asdict(most) if most else None).decode(), flush=True)


if __name__ == "__main__":
    # HOST PORT KEY BODIES.json RATE SECONDS WARM_UP_SECONDS MAXIMUM_SECONDS
    given = sys.argv[1:]
    lines = Path(given[3]).read_bytes().splitlines()
    rate, measured_s, warm_up_s, maximum_s = map(float, given[4:])
    uvloop.run(_phases(given[0], int(given[1]), given[2], lines, rate, measured_s, warm_up_s, maximum_s))
