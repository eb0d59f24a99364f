"""TCP ports of this machine."""

import errno
import socket

from domain.errors import Unavailable


def port_from(preferred: int, taken: set[int], host: str = "127.0.0.1") -> int:
    """The first TCP port at or after `preferred` that is free on a host; if it is none of this machine, whoever listens says so.

    Raises:
      Unavailable: none of the next 200 is free.
    """
    for port in range(preferred, min(preferred + 200, 65_536)):
        if port not in taken and not accepts_connections("127.0.0.1", port):
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    s.bind((host, port))
                except OSError as e:
                    if e.errno in (errno.EADDRINUSE, errno.EACCES):
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
