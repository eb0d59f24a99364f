"""TCP ports of this machine: which are free, kept for one run, and listened on by whom."""

import errno
import fcntl
import os
import socket
import tempfile
import weakref
from pathlib import Path

import psutil

from domain.errors import Unavailable

TRIED = 200


class PortsKept:
    """Ports that were free and that no other run of this user takes, for as long as this object lives.

    A process listens on its port seconds after the port was chosen, and again after a crash: what was free once may be
    somebody else's by then, so each port is locked in a file.
    """

    def __init__(self) -> None:
        self._locks: dict[int, int] = {}
        weakref.finalize(self, _close, self._locks)
        self._folder = Path(tempfile.gettempdir()) / f"offerrank-ports-{os.getuid()}"

    def take(self, preferred: int, host: str = "127.0.0.1") -> int:
        """The first port at or after `preferred` that is free on a host; if it is none of this machine, whoever listens says so.

        Raises:
          Unavailable: none of the next 200 is free.
        """
        for port in range(preferred, min(preferred + TRIED, 65_536)):
            if port not in self._locks and self._lock(port):
                if _is_free(port, host):
                    return port
                os.close(self._locks.pop(port))
        raise Unavailable("network", f"no free port from {preferred} to {preferred + TRIED - 1}")

    def _lock(self, port: int) -> bool:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        file = os.open(self._folder / str(port), os.O_CREAT | os.O_WRONLY)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self._locks[port] = file
        return True


def _close(locks: dict[int, int]) -> None:
    for file in locks.values():
        os.close(file)


def accepts_connections(host: str, port: int) -> bool:
    """Whether something listens there."""
    try:
        with socket.create_connection((host, port), timeout=0.3):
            return True
    except OSError:
        return False


def listens(pid: int, port: int) -> bool:
    """Whether it is this process, or a child of it, that listens on a port."""
    try:
        process = psutil.Process(pid)
        sockets = [c for p in (process, *process.children(recursive=True)) for c in p.net_connections("tcp")]
    except psutil.Error:  # it has just ended
        return False
    return any(s.status == psutil.CONN_LISTEN and s.laddr.port == port for s in sockets)


def _is_free(port: int, host: str) -> bool:
    if accepts_connections("127.0.0.1", port):
        return False
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((host, port))
        except OSError as e:
            return e.errno not in (errno.EADDRINUSE, errno.EACCES)
    return True
