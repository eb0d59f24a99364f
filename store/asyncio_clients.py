"""Redis clients for an event loop."""

from collections.abc import Callable
from typing import Any

import hiredis
import redis.asyncio
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool, SentinelManagedConnection, SentinelManagedSSLConnection
from redis.backoff import NoBackoff

from store.address import Address
from store.clients import credentials, place, sentinel_credentials


class _Packs:
    """Commands are written by hiredis: redis-py's asyncio connections do it in Python, a quarter of a millisecond for a page."""

    def pack_command(self, *args: Any) -> list[bytes]:
        """One command as it goes over the wire."""
        name, *rest = args
        return [hiredis.pack_command((*name.split(), *rest))]


class _Tcp(_Packs, Connection):  # type: ignore[misc]
    pass


class _Tls(_Packs, SSLConnection):  # type: ignore[misc]
    pass


class _Socket(_Packs, UnixDomainSocketConnection):  # type: ignore[misc]
    pass


class _Managed(_Packs, SentinelManagedConnection):  # type: ignore[misc]
    pass


class _ManagedTls(_Packs, SentinelManagedSSLConnection):  # type: ignore[misc]
    pass


class _SentinelPool(SentinelConnectionPool, redis.asyncio.BlockingConnectionPool):  # type: ignore[misc]
    """Blocking, as the other."""


def connect_asyncio(
    address: Address, connect_timeout_s: float, max_connections: int, greet: Callable[[Any], Any] | None = None
) -> "redis.asyncio.Redis":
    """A client of a server, or of the one that Sentinels name; connects when it is first used, and retries nothing.

    Waits for a connection no longer than for a new one.

    Args:
      address: not of a cluster, whose nodes are servers.
      greet: called with each new connection.
    """
    options: dict[str, Any] = {
        **credentials(address),
        "db": address.db,
        # Blocking, because the plain pool connects under its lock: one hung connection would hold up all others.
        "max_connections": max_connections,
        "timeout": connect_timeout_s,
        "socket_connect_timeout": connect_timeout_s,
        "redis_connect_func": greet,
        "retry": Retry(NoBackoff(), 0),  # type: ignore[no-untyped-call,unused-ignore]
        "lib_name": None,  # two round trips less
        "lib_version": None,
    }
    if address.kind == "sentinel":
        waits = {"socket_connect_timeout": connect_timeout_s, "socket_timeout": connect_timeout_s}
        sentinels = Sentinel(address.nodes, sentinel_kwargs=sentinel_credentials(address) | waits)
        managed = _ManagedTls if address.tls else _Managed
        pool = _SentinelPool(address.name, sentinels, connection_class=managed, **options)
        return redis.asyncio.Redis(connection_pool=pool)
    kind = _Socket if address.path else _Tls if address.tls else _Tcp
    where = {"path": address.path} if address.path else place(address)
    return redis.asyncio.Redis(connection_pool=redis.asyncio.BlockingConnectionPool(connection_class=kind, **where, **options))
