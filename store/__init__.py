"""What every process reaches: Redis, by one way to write its address and one look whether money is safe in it; the keys file."""

from store.address import Address, RedisUrl
from store.clients import connect, forget_connections, infos, refuse_unsafe, server_of
from store.safety import parse_info, unsafe

__all__ = ["Address", "RedisUrl", "connect", "forget_connections", "infos", "parse_info", "refuse_unsafe", "server_of", "unsafe"]
