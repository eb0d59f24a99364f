"""Ports for processes that are started here."""

import random
import socket

_RANGE = range(20_000, 32_768)
"""Below those that systems give to outgoing connections (Linux from 32768, macOS from 49152), any of which may take a port
between here and the start of whoever is to listen there."""


def free_port() -> int:
    """A TCP port of this machine that was free a moment ago.

    Raises:
      OSError: none of many that were tried is free.
    """
    ports = random.SystemRandom().sample(_RANGE, 100)
    for port in ports:
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"none of {len(ports)} ports from {_RANGE.start} to {_RANGE.stop - 1} is free")
