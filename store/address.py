"""Where Redis is, as one line of text: a server, a server that Sentinels know, or a cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal
from urllib.parse import parse_qsl, unquote

from pydantic import AfterValidator

from domain.addresses import host_port
from domain.errors import InvalidAddress

PORT = 6379
SENTINEL_PORT = 26379
EXPECTED = (
    "redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], rediss:// for TLS, redis+sentinel://HOST:PORT,HOST:PORT/NAME, "
    "redis+cluster://HOST:PORT,HOST:PORT, or unix://PATH"
)
SECRETS = ("sentinel_password",)
OPTIONS = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "sentinel_username", *SECRETS)


@dataclass(frozen=True, slots=True)
class Address:
    """A Redis URL, read.

    A password may hold any character: what stands before the last `@` is user and password, and `%23` means `#` as in every URL.
    """

    kind: Literal["server", "sentinel", "cluster"]
    nodes: tuple[tuple[str, int], ...]
    """Host and port; of Sentinels or of some nodes of a cluster, any of which will do. Empty for a Unix socket."""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    name: str = ""
    """What the Sentinels call the server."""
    path: str = ""
    """Of a Unix socket."""
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Reads a URL; without a scheme it is `redis://`.

        Raises:
          InvalidAddress: says what was expected, and never shows a password.
        """
        try:
            return _parse(url)
        except _Wrong as e:
            scheme, separator, rest = url.rpartition("@")[2].rpartition("://")
            shown = f"{url.partition('://')[0]}://...@{rest}" if "@" in url else f"{scheme}{separator}{rest}"
            raise InvalidAddress(f"expected {e}, got {shown!r}") from None

    def __str__(self) -> str:
        """For people: without user and password."""
        if self.path:
            return f"unix://{self.path}"
        scheme = ("rediss" if self.tls else "redis") + ("" if self.kind == "server" else f"+{self.kind}")
        hosts = ",".join(host_port(*node) for node in self.nodes)
        return f"{scheme}://{hosts}" + (f"/{self.name}" if self.name else "") + (f"/{self.db}" if self.kind != "cluster" else "")


def _checked(url: str) -> str:
    Address.parse(url)
    return url


RedisUrl = Annotated[str, AfterValidator(_checked)]
"""A field of settings."""


class _Wrong(Exception):
    """What was expected instead."""


def _parse(url: str) -> Address:
    scheme, separator, rest = url.strip().partition("://")
    if not separator:
        scheme, rest = "redis", scheme
    userinfo, at, place = rest.rpartition("@")
    place, _, query = place.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=False))
    if unknown := [o for o in options if o not in OPTIONS]:
        raise _Wrong(f"no options but {', '.join(OPTIONS)} after the ?, not {unknown[0]}")
    username, password = _userinfo(userinfo) if at else (None, None)
    if scheme == "unix":
        if not place.startswith("/"):
            raise _Wrong("unix:///PATH of a socket")
        return Address("server", (), username=username, password=password, path=unquote(place), options=options)
    hosts, _, path = place.partition("/")
    kinds: dict[str, Literal["server", "sentinel", "cluster"]] = {"": "server", "sentinel": "sentinel", "cluster": "cluster"}
    protocol, _, kind = scheme.partition("+")
    if protocol not in ("redis", "rediss") or kind not in kinds or scheme.endswith("+"):
        raise _Wrong(EXPECTED)
    nodes = tuple(_node(host, SENTINEL_PORT if kind == "sentinel" else PORT) for host in hosts.split(","))
    if kind != "sentinel" and kind != "cluster" and len(nodes) != 1:
        raise _Wrong("one host; several stand behind redis+sentinel:// or redis+cluster://")
    name = ""
    if kind == "sentinel":
        name, _, path = path.partition("/")
        if not name:
            raise _Wrong("the name that the Sentinels know the server by, as in redis+sentinel://HOST:PORT/NAME")
    if path and not path.isdecimal():
        raise _Wrong(f"the number of a database after the /, not {path!r}; # ? @ and / may stand in passwords only")
    if kind == "cluster" and int(path or 0) != 0:
        raise _Wrong("no database number: a cluster has only 0")
    return Address(kinds[kind], nodes, int(path or 0), username, password, protocol == "rediss", unquote(name), options=options)


def _userinfo(userinfo: str) -> tuple[str | None, str | None]:
    username, colon, password = userinfo.partition(":")
    if not colon:
        raise _Wrong("USER:PASSWORD or :PASSWORD before the @")
    return unquote(username) or None, unquote(password) or None


def _node(text: str, port: int) -> tuple[str, int]:
    """`host`, `host:port`, `[IPv6]` or `[IPv6]:port`."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise _Wrong("an IPv6 address in brackets, as in redis://[::1]:6379")
        given = rest[1:] if rest else None
    elif text.count(":") > 1:
        raise _Wrong("an IPv6 address in brackets, as in redis://[::1]:6379")
    else:
        host, colon, given = text.partition(":")
        given = given if colon else None
    if not host or any(c in host for c in "#?@/ \\"):
        raise _Wrong(f"a host, not {host!r}")
    if given is None:
        return host, port
    if not given.isdecimal() or not 1 <= int(given) <= 65_535:
        raise _Wrong(f"a port from 1 to 65535, not {given!r}")
    return host, int(given)
