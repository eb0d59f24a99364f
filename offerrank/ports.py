"""TCP ports of this machine."""

import socket

from domain.errors import Unavailable


def port_from(preferred: int, taken: set[int]) -> int:
    """The first free TCP port of this machine at or after `preferred`.

    Raises:
      Unavailable: none of the next 200 is free.
    """
    for port in range(preferred, preferred + 200):
        if port not in taken and not accepts_connections("127.0.0.1", port):
            with socket.socket() as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    s.bind(("127.0.0.1", port))
                except OSError:
                    continue
                return port
    raise Unavailable("network", f"no free port from {preferred} to {preferred + 199}")


def accepts_connections(host: str, port: int) -> bool:
    """Whether something listens there."""
    try:
        with socket.create_connection((host, port), timeout=0.3):
            return True
    except OSError:
        return False
