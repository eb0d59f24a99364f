"""Redis servers of any configuration, and a way to lead connections from one to another."""

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from serving.embedded_redis import find_redis_server, free_port

PATIENCE_S = 20.0


class RedisServer:
    """A `redis-server` with the given arguments, which answers when this returns."""

    def __init__(self, directory: Path, *arguments: str, host: str = "127.0.0.1", password: str | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.host, self.port, self.password = host, free_port(), password
        while "--cluster-enabled" in arguments and self.port > 55_535:  # a cluster speaks 10,000 ports higher
            self.port = free_port()
        command = [str(find_redis_server()), "--port", str(self.port), "--bind", host, "--dir", str(directory), "--save", ""]
        command += ["--logfile", str(directory / "redis.log"), *arguments]
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


@contextmanager
def redis_server(directory: Path, *arguments: str, host: str = "127.0.0.1", password: str | None = None) -> Iterator[RedisServer]:
    server = RedisServer(directory, *arguments, host=host, password=password)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def redis_cluster(directory: Path, n: int = 3, **options: Any) -> Iterator["redis.RedisCluster"]:
    """A client of a cluster of n masters, each with as many slots."""
    arguments = ("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf")
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(redis_server(directory / str(i), *arguments)) for i in range(n)]
        clients = [stack.enter_context(server.client()) for server in servers]
        for i, client in enumerate(clients):
            client.execute_command("CLUSTER", "ADDSLOTS", *range(i * 16384 // n, (i + 1) * 16384 // n))
            clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", servers[i].port)
        deadline = time.monotonic() + 30
        while any(c.cluster("info")["cluster_state"] != "ok" or len(c.cluster("nodes")) < n for c in clients):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield stack.enter_context(redis.RedisCluster("127.0.0.1", servers[0].port, **options))


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
