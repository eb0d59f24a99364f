"""Redis servers of any configuration, and a way to lead connections from one to another."""

import contextlib
import random
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from serving.embedded_redis import find_redis_server
from store.ports import free_port

PATIENCE_S = 20.0


class RedisServer:
    """A `redis-server` with the given arguments, which answers when this returns."""

    def __init__(
        self,
        directory: Path,
        *arguments: str,
        host: str = "127.0.0.1",
        password: str | None = None,
        config: Path | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.host, self.password = host, password
        self.port = _port_and_bus() if "--cluster-enabled" in arguments else free_port()
        command = [str(find_redis_server()), *([str(config)] if config else []), "--port", str(self.port), "--bind", host]
        command += ["--dir", str(directory), "--logfile", str(directory / "redis.log"), *arguments]
        command += [] if config else ["--save", ""]
        command += ["--requirepass", password] if password else []
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE_S
        with self.client() as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.ConnectionError:
                    assert self.process.poll() is None, (directory / "redis.log").read_text()
                    assert time.monotonic() < deadline
                    time.sleep(0.02)

    @property
    def url(self) -> str:
        """Without a password."""
        return f"redis://{self.host}:{self.port}/0"

    def client(self) -> "redis.Redis":
        return redis.Redis(self.host, self.port, password=self.password, decode_responses=True, socket_timeout=PATIENCE_S)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def _port_and_bus() -> int:
    """A cluster speaks 10,000 ports higher, too: both are below those that systems give out by themselves."""
    while True:
        port = random.randrange(11_000, 22_000)
        with contextlib.suppress(OSError), socket.create_server(("", port)), socket.create_server(("", port + 10_000)):
            return port


@contextmanager
def redis_server(directory: Path, *arguments: str, **options: Any) -> Iterator[RedisServer]:
    server = RedisServer(directory, *arguments, **options)
    try:
        yield server
    finally:
        server.stop()


class VirtualAddress:
    """A port whose new connections lead to `port` of this machine; those that exist stay where they are."""

    def __init__(self, port: int) -> None:
        self.leads_to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def close(self) -> None:
        for each in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                ours, _ = self._listener.accept()
            except OSError:
                return
            theirs = socket.create_connection(("127.0.0.1", self.leads_to))
            self._sockets += [ours, theirs]
            for source, sink in ((ours, theirs), (theirs, ours)):
                self._start(_pump, source, sink)

    def _start(self, target: Callable[..., None], *args: socket.socket) -> None:
        self._threads.append(threading.Thread(target=target, args=args))
        self._threads[-1].start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    for each in (source, sink):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
