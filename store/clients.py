"""Redis clients for threads, from a URL."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import redis

from domain.errors import ContractError, Unavailable
from store.address import Address
from store.safety import look, on_connect, unsafe

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
    """A client of a server, of the one that Sentinels name, or of a cluster; connects when it is first used, a cluster's now.

    Args:
      timeout_s: longest wait for an answer.
      for_money: refuses servers in which money is not safe, as if they were away.
      options: of redis.Redis.
    Raises:
      InvalidAddress: the URL is none.
      Unavailable: no node of the cluster answers.
    """
    address = Address.parse(url)
    timeouts = {"socket_timeout": timeout_s, "socket_connect_timeout": connect_timeout_s}
    usual = {**credentials(address), **timeouts, "decode_responses": decode_responses, **options}
    if address.kind == "cluster":
        # redis-py greets the nodes of a cluster by itself, and calls this after it.
        return _cluster(address, ssl=address.tls, redis_connect_func=look if for_money else None, **usual)
    usual |= {"db": address.db, "redis_connect_func": on_connect if for_money else None}
    if address.kind == "sentinel":
        sentinels = redis.Sentinel(address.nodes, sentinel_kwargs=sentinel_credentials(address) | timeouts)
        return sentinels.master_for(address.name, **usual, **({"ssl": True} if address.tls else {}))
    return redis.Redis(**place(address), ssl=address.tls, **usual)


def _cluster(address: Address, **options: Any) -> "redis.RedisCluster":
    """A cluster client whose errors are redis.RedisError, and that finds a cluster again that was away as a whole."""

    def seeds() -> "list[redis.cluster.ClusterNode]":
        return [redis.cluster.ClusterNode(*node) for node in address.nodes]

    try:
        client = redis.RedisCluster(startup_nodes=seeds(), **options)
    except redis.exceptions.RedisClusterException as e:
        raise Unavailable("redis", f"{address}: {e}") from None
    manager = client.nodes_manager
    read_nodes, node_of = manager.initialize, manager.get_node_from_slot

    def initialize() -> None:
        manager.populate_startup_nodes(seeds())  # it forgets every node that failed once
        _as_redis_error(read_nodes)

    manager.initialize = initialize
    manager.get_node_from_slot = partial(_as_redis_error, node_of)
    return client


def _as_redis_error(call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    try:
        return call(*args, **options)
    except redis.exceptions.RedisClusterException as e:  # which is none, unlike all others
        raise redis.ConnectionError(str(e)) from None


def forget_connections(client: "redis.Redis") -> None:
    """The next command connects anew: after a fail-over, that leads to the new master."""
    if isinstance(client, redis.RedisCluster):
        client.disconnect_connection_pools()
    else:
        client.connection_pool.disconnect()


def infos(client: "redis.Redis", section: str = "default") -> list[Mapping[str, object]]:
    """INFO of every server, whole or a section of it; of a cluster, of its masters."""
    if not isinstance(client, redis.RedisCluster):
        return [client.info(section)]
    found = client.info(section, target_nodes=redis.RedisCluster.PRIMARIES)
    return [found] if "redis_version" in found else list(found.values())


def refuse_unsafe(url: str) -> None:
    """Looks before a process starts; a Redis that does not answer may yet come, and is looked at then.

    Raises:
      ContractError: money is not safe in it; says why.
      InvalidAddress: the URL is none.
    """
    try:
        with connect(url, LOOK_S, LOOK_S) as client:
            found = infos(client)
    except (redis.RedisError, Unavailable):
        return
    for problem in filter(None, map(unsafe, found)):
        raise ContractError(f"no money is put into {Address.parse(url)}: {problem}")


def server_of(client: "redis.Redis", key: str) -> "redis.Redis":
    """A client of the one server that has a key, for transactions; of a cluster until the key's slot moves."""
    if isinstance(client, redis.RedisCluster):
        return client.get_redis_connection(client.get_node_from_key(key))
    return client


def place(address: Address) -> dict[str, Any]:
    """Where a single server is, as redis.Redis takes it."""
    if address.path:
        return {"unix_socket_path": address.path}
    host, port = address.nodes[0]
    return {"host": host, "port": port}


def credentials(address: Address) -> dict[str, Any]:
    """Who we are and whom we trust, as connections take it."""
    tls = {name: value for name, value in address.options.items() if name.startswith("ssl_")}
    return {"username": address.username, "password": address.password, **tls}


def sentinel_credentials(address: Address) -> dict[str, Any]:
    """The same for Sentinels, which have passwords of their own, or none."""
    options = address.options
    known = {"username": options.get("sentinel_username"), "password": options.get("sentinel_password")}
    return known | ({"ssl": True} if address.tls else {})
