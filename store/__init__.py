"""How every process reaches Redis: one way to write its address, one to connect, one look at whether money is safe in it."""

from store.address import Address, RedisUrl
from store.clients import connect, connect_asyncio, refuse_unsafe, server_of
from store.safety import parse_info, unsafe

__all__ = ["Address", "RedisUrl", "connect", "connect_asyncio", "parse_info", "refuse_unsafe", "server_of", "unsafe"]
