"""Redis clients from a URL."""

from collections.abc import Callable
from typing import Any

import redis
import redis.asyncio

from domain.errors import ContractError
from store.address import Address
from store.safety import on_connect, unsafe

LOOK_S = 1.0


def connect(
    url: str,
    timeout_s: float,
    connect_timeout_s: float = 2.0,
    *,
    for_money: bool = False,
    decode_responses: bool = False,
    **options: Any,
) -> "redis.Redis":
    """A client for threads; connects when it is first used.

    Args:
      timeout_s: longest wait for an answer.
      for_money: refuses servers in which money is not safe, as if they were away.
      options: of redis.Redis.
    Raises:
      InvalidAddress: the URL is none.
    """
    address = Address.parse(url)
    return redis.Redis(
        **_place(address),
        **_login(address),
        ssl=address.tls,
        **_tls(address),
        db=address.db,
        socket_timeout=timeout_s,
        socket_connect_timeout=connect_timeout_s,
        decode_responses=decode_responses,
        redis_connect_func=on_connect if for_money else None,
        **options,
    )


def refuse_unsafe(url: str) -> None:
    """Looks before a process starts; a Redis that does not answer may yet come, and is looked at then.

    Raises:
      ContractError: money is not safe in it; says why.
      InvalidAddress: the URL is none.
    """
    with connect(url, LOOK_S, LOOK_S) as client:
        try:
            problem = unsafe(client.info())
        except redis.RedisError:
            return
    if problem:
        raise ContractError(f"no money is put into {Address.parse(url)}: {problem}")


def server_of(client: "redis.Redis", key: str) -> "redis.Redis":
    """A client of the one server that has a key, for transactions; of a cluster until the key's slot moves."""
    if isinstance(client, redis.RedisCluster):
        return client.get_redis_connection(client.get_node_from_key(key))
    return client


def connect_asyncio(
    url: str, connect_timeout_s: float, max_connections: int, greet: Callable[[Any], Any], **options: Any
) -> "redis.asyncio.Redis":
    """A client for an event loop; connects when it is first used, and waits for a connection no longer than for a new one.

    Args:
      greet: called with each new connection.
    Raises:
      InvalidAddress: the URL is none.
    """
    address = Address.parse(url)
    kinds = redis.asyncio.connection
    kind = kinds.UnixDomainSocketConnection if address.path else kinds.SSLConnection if address.tls else kinds.Connection
    # Blocking, because the plain pool connects under its lock: one hung connection would hold up all others.
    pool = redis.asyncio.BlockingConnectionPool(
        connection_class=kind,
        **({"path": address.path} if address.path else _place(address)),
        **_login(address),
        **_tls(address),
        db=address.db,
        max_connections=max_connections,
        timeout=connect_timeout_s,
        socket_connect_timeout=connect_timeout_s,
        redis_connect_func=greet,
        **options,
    )
    return redis.asyncio.Redis(connection_pool=pool)


def _place(address: Address) -> dict[str, Any]:
    if address.path:
        return {"unix_socket_path": address.path}
    host, port = address.nodes[0]
    return {"host": host, "port": port}


def _login(address: Address) -> dict[str, Any]:
    return {"username": address.username, "password": address.password}


def _tls(address: Address) -> dict[str, Any]:
    return {name: value for name, value in address.options.items() if name.startswith("ssl_")}
