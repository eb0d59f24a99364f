"""Who sent a request, as far as it tells."""

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from serving.gateway.traffic.networks import Address, NetworkSet

DAY_MS = 86_400_000
PSEUDONYM = 12
"""Characters of an address's pseudonym: 48 bits."""
_PURPOSES = (b"sec-purpose", b"purpose", b"x-purpose", b"x-moz")
_AHEAD = (b"prefetch", b"prerender", b"preview")
_PRIVATE = NetworkSet(
    ipaddress.ip_network(n)
    for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10", "fc00::/7", "fe80::/10")
)


@dataclass(frozen=True, slots=True)
class Client:
    """One request's sender. `user_agent` is None where nothing is known of it, not even that there was none."""

    address: str
    """As seen through trusted proxies; empty where it is not known."""
    user_agent: str | None
    prefetch: bool = False
    """The browser says that nobody has asked for it yet."""

    @classmethod
    def of(cls, address: str, headers: Iterable[tuple[bytes, bytes]]) -> "Client":
        """From an address and the headers as ASGI has them, names in lower case."""
        user_agent, prefetch = b"", False
        for name, value in headers:
            if name == b"user-agent":
                user_agent = value
            elif name in _PURPOSES and any(word in value.lower() for word in _AHEAD):
                prefetch = True
        return cls(address, user_agent.decode("latin-1"), prefetch)


@dataclass(frozen=True, slots=True)
class Origin:
    """What an address says."""

    ip: Address | None
    """None where it is none."""
    network: str
    """What counts as one client: an IPv4 address, or the /64 of IPv6, the least that one client is given; empty if unknown."""
    is_local: bool = False
    """This machine: its own tools, such as the simulator."""
    is_private: bool = False
    """A network of the operator's, this machine included: many clients may stand behind one address."""


@lru_cache(maxsize=16_384)
def origin_of(address: str) -> Origin:
    """Parses an address; the last ones are remembered, as parsing takes longer than all else that is done with it."""
    try:
        ip: Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return Origin(None, "")
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    network = str(ip) if ip.version == 4 else str(ipaddress.IPv6Network((int(ip) >> 64 << 64, 64)))
    return Origin(ip, network, ip.is_loopback, ip.is_loopback or ip in _PRIVATE)


class Pseudonyms:
    """Stand-ins for addresses in the log: one for each network and day (UTC), of no use without the secret."""

    def __init__(self, secret: str, market: str) -> None:
        self._key = hashlib.sha256(f"offerrank address\0{market}\0{secret}".encode()).digest()
        self._of = lru_cache(maxsize=16_384)(self._made)

    def of(self, address: str, now_ms: int) -> str:
        """12 hexadecimal digits, or nothing for an address that is not known."""
        network = origin_of(address).network
        return self._of(network, now_ms // DAY_MS) if network else ""

    def _made(self, network: str, day: int) -> str:
        return hmac.new(self._key, f"{day} {network}".encode(), hashlib.sha256).hexdigest()[:PSEUDONYM]
