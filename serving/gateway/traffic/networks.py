"""Sets of networks, looked up by address in microseconds however many there are; and one that follows a file."""

import asyncio
import ipaddress
import logging
from bisect import bisect_right
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from domain.errors import OfferRankError
from store.followed_file import FollowedFile

EVERY_S = 5.0
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

log = logging.getLogger(__name__)


class NetworkSet:
    """Networks of both families, as ranges that are apart and in order: one search finds the range of an address."""

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self._begins: dict[int, list[int]] = {4: [], 6: []}
        self._ends: dict[int, list[int]] = {4: [], 6: []}
        for network in sorted(networks, key=lambda n: (n.version, int(n.network_address))):
            begin, end = int(network.network_address), int(network.broadcast_address)
            begins, ends = self._begins[network.version], self._ends[network.version]
            if ends and begin <= ends[-1] + 1:
                ends[-1] = max(ends[-1], end)
            else:
                begins.append(begin)
                ends.append(end)

    def __contains__(self, address: Address) -> bool:
        begins = self._begins[address.version]
        at = bisect_right(begins, int(address)) - 1
        return at >= 0 and int(address) <= self._ends[address.version][at]

    @classmethod
    def parse(cls, text: str, name: str) -> Self:
        """One network or address a line, such as 192.0.2.0/24 or 2001:db8::/32; what follows a `#` is a comment.

        Raises:
          OfferRankError: names the line.
        """
        networks = []
        for number, line in enumerate(text.splitlines(), 1):
            entry = line.partition("#")[0].strip()
            if entry:
                try:
                    networks.append(ipaddress.ip_network(entry, strict=False))
                except ValueError:
                    wanted = "a network such as 192.0.2.0/24 or 2001:db8::/32"
                    raise OfferRankError(f"{name}:{number}: expected {wanted}, got {entry[:60]!r}") from None
        return cls(networks)


class NetworkFile:
    """The networks of a file, read again when it changes. One that cannot be used is said once, and the last good ones stay.

    Raises:
      OfferRankError: it cannot be used at the start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = FollowedFile(path)
        self.networks = _read(path)
        self.version = 0
        """Counts up with every change of `networks`."""

    async def watch(self) -> None:
        """Looks at the file for ever; reads it beside the requests, as it may be long."""
        while True:
            await asyncio.sleep(EVERY_S)
            await asyncio.to_thread(self.refresh)

    def refresh(self) -> None:
        """Reads the file if it is another than before."""
        if not self._file.has_changed():
            return
        try:
            self.networks = _read(self._path)
        except OfferRankError as e:
            log.error("%s: what was read before goes on to be used", e)
        else:
            self.version += 1
            log.info("read %s again", self._path)


def _read(path: Path) -> NetworkSet:
    try:
        return NetworkSet.parse(path.read_text(encoding="utf-8-sig"), str(path))
    except OSError as e:
        raise OfferRankError(f"{path}: cannot be read: {e.strerror}") from None
    except UnicodeDecodeError:
        raise OfferRankError(f"{path}: is not UTF-8 text") from None
