"""Clients that mind no rules, and more of them than a gateway can serve: what others get meanwhile, and what it costs."""

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import psutil

from benchmarks.adversary import crowd
from benchmarks.adversary.market import Spec, market_toml
from benchmarks.adversary.row import Row
from benchmarks.adversary.running import PAGE, Running, running
from store.key_records import Role

BEGUN = b"POST /v1/decisions HTTP/1.1\r\nhost: x\r\ncontent-"
ENDLESS_MB = 64


def cases(folder: Path, *, short: bool) -> Iterator[Row]:
    """One running market for all, and a large one."""
    campaigns = [Spec(f"offer-{i}", 500_000 - i) for i in range(10)]
    with running(folder, market_toml(campaigns), {"OFFERRANK_ADDRESS_PER_SECOND": "0"}) as case:
        yield _endless_header(case)
        yield _half_sent(case, 200 if short else 3000)
        yield _overload(case, 4 if short else 15)
    yield from crowd.cases(folder / "crowd", short=short)


def _endless_header(case: Running) -> Row:
    gateway = psutil.Process(case.supervisor.pids()["gateway"])
    before, sent = gateway.memory_info().rss, 0
    with _connected(case) as hostile, contextlib.suppress(OSError):
        hostile.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-long: ")
        while sent < ENDLESS_MB * 2**20:
            sent += hostile.send(b"a" * 65_536)
    grown_mb = (gateway.memory_info().rss - before) / 2**20
    return Row(
        "a header without end",
        ok=sent < ENDLESS_MB * 2**20 and grown_mb < 16 and case.whole(),
        said=f"cut off after {sent / 2**20:.1f} MB, {max(grown_mb, 0):.0f} MB of memory",
    )


def _half_sent(case: Running, connections: int) -> Row:
    """So many requests of which only the beginning is sent; pages are sold meanwhile, and all connections end."""
    pages = sold = 0
    with contextlib.ExitStack() as opened:
        clients = []
        for _ in range(connections):
            with contextlib.suppress(OSError):
                clients.append(opened.enter_context(_connected(case)))
                clients[-1].sendall(BEGUN)
        deadline = time.monotonic() + 20
        waiting = set(clients)
        while waiting and time.monotonic() < deadline:
            pages += 1
            sold += bool(case.page())
            waiting = {c for c in waiting if _is_open(c)}
            time.sleep(0.1)
    return Row(
        f"{connections:,} half-sent requests",
        ok=not waiting and sold == pages,
        sellable=pages,
        sold=sold,
        lost=len(waiting),
        said="all ended" if not waiting else f"{len(waiting)} stay open",
    )


def _overload(case: Running, seconds: float) -> Row:
    """64 clients without a pause, which is more than one gateway serves: 503 at once for some, as fast as ever for the others."""
    stop, statuses, times = threading.Event(), Counter[int](), list[float]()

    def one(_: int) -> None:
        headers = {"authorization": f"Bearer {case.stack.keys[Role.SERVER]}"}
        with httpx.Client(base_url=case.stack.plan.gateway_url, timeout=10, headers=headers) as http:
            while not stop.is_set():
                began = time.perf_counter()
                status = http.post("/v1/decisions", json=PAGE).status_code
                statuses[status] += 1
                if status == 200:
                    times.append(time.perf_counter() - began)

    with ThreadPoolExecutor(64) as clients:
        for n in range(64):
            clients.submit(one, n)
        time.sleep(seconds)
        stop.set()
    began = time.monotonic()
    case.wait(case.whole, "whole decisions after the flood")
    p99 = float(np.quantile(times, 0.99)) if times else float("nan")
    return Row(
        "64 clients without a pause",
        ok=set(statuses) <= {200, 503} and statuses[200] > 0,
        sellable=sum(statuses.values()),
        sold=statuses[200],
        recovery_s=time.monotonic() - began,
        said=f"{statuses[200] / seconds:.0f} a second, p99 {1000 * p99:.0f} ms, clients included; {statuses[503]} shed",
    )


def _connected(case: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", case.stack.plan.gateway_port), timeout=5)


def _is_open(client: socket.socket) -> bool:
    """Whether the other side has neither answered nor hung up."""
    client.setblocking(False)
    try:
        client.recv(1)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False
