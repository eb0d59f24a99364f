"""The servers a gateway talks to, and which of them has a key: one, or the masters of a cluster."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from redis.asyncio import Redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import BusyLoadingError, NoScriptError, ReadOnlyError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from domain.errors import Unavailable
from serving.gateway.adapters.breaker import Breaker
from store import Address, parse_info, unsafe
from store.asyncio_clients import connect_asyncio

CONNECT_TIMEOUT_S = 0.25
MAX_CONNECTIONS = 32
FAILURES_TO_OPEN = 3
OPEN_S = 0.25
LEAST_BETWEEN_LOOKS_S = 0.25

NOT_THE_MASTER = ("READONLY", "MASTERDOWN", "CLUSTERDOWN", "LOADING")
"""In errors of a server, or of a script on it, that is none any more, or not yet: who connects anew finds the one that is."""
KEYLESS = ("PING", "TIME", "INFO", "SCRIPT LOAD")
NOT_VERIFIED = "the money of this server is not reconciled yet; the pacer does it, or offerrank reconcile --repair"


Command = tuple[tuple[Any, ...], dict[str, Any]]
"""Arguments and options of one command, as redis-py's pipelines keep them."""


def key_of(command: Command) -> str | bytes | None:
    """The key that says where a command goes; None goes anywhere."""
    args = command[0]
    if args[0] in KEYLESS:
        return None
    key: str | bytes = args[3] if args[0] == "EVALSHA" else args[1]
    return key


def has_moved(reply: object) -> bool:
    """Whether a node of a cluster says that another has the key."""
    return isinstance(reply, Exception) and str(reply).startswith("MOVED ")


class Greeting:
    """Lets connections through to servers only that keep money, take it, and whose money is known to be right, as they connect.

    A restart or a fail-over ends all connections and makes a new run id, so that lost data is met here before it is used.

    Args:
      verified: key of the set of servers whose money is right; None asks for nothing.
      members: reads it where the server that is greeted does not have it.
    """

    def __init__(self, verified: str | None, members: Callable[[], Awaitable[set[bytes]]] | None = None) -> None:
        self._verified, self._members = verified, members

    async def on_connect(self, connection: Any) -> None:
        """Raises redis.ConnectionError for a server that is not to be talked to: it counts as away."""
        await connection.on_connect()
        asks_it = self._verified is not None and self._members is None
        # Both at once: connections are made where time is short.
        asked = [("INFO",), *([("SMEMBERS", self._verified)] if asks_it else [])]
        await connection.send_packed_command(connection.pack_commands(asked))
        info = parse_info(await connection.read_response())
        members = await connection.read_response() if asks_it else None
        if problem := unsafe(info):
            raise RedisConnectionError(problem)
        if info.get("role") == "slave":
            raise RedisConnectionError("this server is a replica and takes no money")
        if self._members is not None:
            members = await self._members()
        if members is not None and str(info.get("run_id", "")).encode() not in members:
            raise RedisConnectionError(NOT_VERIFIED)


class Server:
    """One server, with connections and a breaker of its own."""

    def __init__(self, address: Address, greeting: Greeting) -> None:
        self.client: Redis = connect_asyncio(address, CONNECT_TIMEOUT_S, MAX_CONNECTIONS, greeting.on_connect)
        self.breaker = Breaker("redis", FAILURES_TO_OPEN, OPEN_S)

    async def send(self, commands: Sequence[Command], deadline_s: float) -> list[Any]:
        """Replies and errors, in order, of one round trip.

        Raises:
          Unavailable: refused, disconnected, or not asked.
          asyncio.CancelledError: at `deadline_s` of the loop's time it counts as a failure of the server.
        """
        self.breaker.check()
        pipe = self.client.pipeline(transaction=False)
        pipe.command_stack = list(commands)
        try:
            replies = list(await pipe.execute(raise_on_error=False))
        except asyncio.CancelledError:
            if asyncio.get_running_loop().time() >= deadline_s:
                self.breaker.record(ok=False)
            raise
        except (RedisError, OSError) as e:
            self.breaker.record(ok=False)
            await self._let_go(e)
            raise Unavailable("redis", str(e) or type(e).__name__) from None
        errors = [r for r in replies if isinstance(r, Exception) and not isinstance(r, NoScriptError) and not has_moved(r)]
        self.breaker.record(ok=not errors)
        if errors:
            await self._let_go(errors[0])
        return replies

    async def _let_go(self, error: Exception) -> None:
        if isinstance(error, ReadOnlyError | BusyLoadingError) or any(word in str(error) for word in NOT_THE_MASTER):
            await self.forget_connections()

    async def forget_connections(self) -> None:
        """The next command connects anew."""
        await self.client.connection_pool.disconnect()

    async def close(self) -> None:
        """Ends all connections."""
        await self.client.aclose()
        await self.client.connection_pool.disconnect()


class Servers(Protocol):
    """Where keys are."""

    sharded: bool
    """Whether keys of different partitions may be on different servers, so that one script may not touch both."""

    async def having(self, key: str | bytes | None) -> Server:
        """The server of a key; raises Unavailable."""
        ...

    def all(self) -> list[Server]:
        """Those known now."""
        ...

    async def look_again(self) -> None:
        """A server said that a key is elsewhere."""
        ...

    def doubt(self) -> None:
        """A server failed: another may have taken its place."""
        ...

    async def close(self) -> None:
        """Ends all connections."""
        ...


def servers_of(url: str, verified: str | None) -> Servers:
    """The servers at a URL; `verified` as in Greeting."""
    address = Address.parse(url)
    return Cluster(address, verified) if address.kind == "cluster" else OneServer(address, verified)


class OneServer:
    """All keys are on one, wherever Sentinels say that it is."""

    sharded = False

    def __init__(self, address: Address, verified: str | None) -> None:
        self._server = Server(address, Greeting(verified))

    async def having(self, _: str | bytes | None) -> Server:
        """It."""
        return self._server

    def all(self) -> list[Server]:
        """It alone."""
        return [self._server]

    async def look_again(self) -> None:
        """There is no elsewhere."""

    def doubt(self) -> None:
        """The next connection finds who is there."""

    async def close(self) -> None:
        """Ends all connections."""
        await self._server.close()


class Cluster:
    """The masters of a cluster by slot, as any node tells; asked again when a key was elsewhere or a node failed."""

    sharded = True

    def __init__(self, address: Address, verified: str | None) -> None:
        self._address = address
        self._verified = verified
        self._greeting = Greeting(verified, None if verified is None else self._members)
        self._servers: dict[tuple[str, int], Server] = {}
        self._scouts: dict[tuple[str, int], Redis] = {}
        """Connections for questions about the cluster itself: these greet nobody."""
        self._owner: list[tuple[str, int]] = []
        """[slots] address of the master, empty before the first look."""
        self._looking: asyncio.Task[None] | None = None
        self._looked_s = 0.0

    async def having(self, key: str | bytes | None) -> Server:
        """The master of the key's slot; of none, some."""
        if not self._owner:
            await self.look_again()
        slot = 0 if key is None else key_slot(key.encode() if isinstance(key, str) else key)
        owner = self._owner[slot]
        if not owner[1]:
            raise Unavailable("redis", f"no node of the cluster has slot {slot}")
        if owner not in self._servers:
            self._servers[owner] = Server(self._at(owner), self._greeting)
        return self._servers[owner]

    def all(self) -> list[Server]:
        """Those that were asked for anything so far."""
        return list(self._servers.values())

    async def look_again(self) -> None:
        """Once for all who ask for it at the same time."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        await asyncio.shield(self._looking)

    def doubt(self) -> None:
        """Looks in the background, now and then."""
        idle = self._looking is None or self._looking.done()
        if idle and asyncio.get_running_loop().time() - self._looked_s >= LEAST_BETWEEN_LOOKS_S:
            self._looking = asyncio.create_task(self._look())
            self._looking.add_done_callback(lambda task: task.cancelled() or task.exception())  # the next who asks meets it

    async def close(self) -> None:
        """Ends all connections."""
        if self._looking is not None:
            self._looking.cancel()
        for server in self._servers.values():
            await server.close()
        for scout in self._scouts.values():
            await scout.aclose()
            await scout.connection_pool.disconnect()

    async def _look(self) -> None:
        error: Exception | None = None
        for node in dict.fromkeys([*self._servers, *self._address.nodes]):
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    ranges = await self._scout(node).execute_command("CLUSTER", "SLOTS")
            except (RedisError, OSError) as e:
                error = e
                continue
            owner = [("", 0)] * REDIS_CLUSTER_HASH_SLOTS
            for first, last, (host, port, *_), *_ in ranges:
                # Without a host it is the one who was asked.
                owner[first : last + 1] = [(host.decode() if host else node[0], port)] * (last + 1 - first)
            self._owner = owner
            gone = self._servers.keys() - set(owner)
            for each in gone:
                await self._servers.pop(each).close()
            break
        self._looked_s = asyncio.get_running_loop().time()
        if error is not None and not self._owner:
            raise Unavailable("redis", f"no node of {self._address} answers: {error or type(error).__name__}")

    async def _members(self) -> set[bytes]:
        assert self._verified is not None
        owner = self._owner[key_slot(self._verified.encode())]
        members: set[bytes] = await self._scout(owner).execute_command("SMEMBERS", self._verified)
        return members

    def _scout(self, node: tuple[str, int]) -> Redis:
        if node not in self._scouts:
            self._scouts[node] = connect_asyncio(self._at(node), CONNECT_TIMEOUT_S, 4)
        return self._scouts[node]

    def _at(self, node: tuple[str, int]) -> Address:
        return replace(self._address, kind="server", nodes=(node,))
