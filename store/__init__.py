"""How every process reaches Redis: one way to write its address, one to connect, one look at whether money is safe in it."""

from store.address import Address, RedisUrl
from store.clients import connect, forget_connections, infos, refuse_unsafe, server_of
from store.safety import parse_info, unsafe

__all__ = ["Address", "RedisUrl", "connect", "forget_connections", "infos", "parse_info", "refuse_unsafe", "server_of", "unsafe"]
