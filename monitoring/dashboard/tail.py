"""Follows the two logs from the oldest entry their streams still hold, without a consumer group: reading leaves no trace."""

import logging
import threading
from collections.abc import Callable
from heapq import merge

import redis

from domain.keys import PARTITIONS, Keys
from monitoring.dashboard.board import Board

log = logging.getLogger("offerrank.dashboard")
READ_AT_ONCE = 512  # entries over all streams that are read
RETRY_S = 1.0


class Tail:
    """A thread that feeds the board. Decisions are read ahead of events, which refer to them."""

    def __init__(self, client: "redis.Redis", keys: Keys, board: Board, lock: threading.Lock, window_s: int) -> None:
        self._client, self._board, self._lock = client, board, lock
        self._decisions, self._events = [keys.decisions], [keys.events(p) for p in range(PARTITIONS)]
        self._window_ms = window_s * 1000
        self._after: dict[str, bytes] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tail", daemon=True)
        self.connected: bool | None = None
        self.caught_up = False
        """Whether the ends of all streams have been reached once."""

    def start(self) -> None:
        """Starts to read."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if not self._after:
                    self._start_at_window()
                read = self._step()
            except redis.RedisError as e:
                if self.connected is not False:
                    log.warning("Redis is away, will try again every second: %s", e)
                self.connected = False
                self._stop.wait(RETRY_S)
            else:
                if self.connected is False:
                    log.info("Redis is back")
                self.connected = True
                if not read:
                    self.caught_up = True
                    self._stop.wait(0.25)

    def _start_at_window(self) -> None:
        """Skips what lies before the charts, so that a long stream costs no more than a window of it."""
        seconds, _ = self._client.time()
        first = f"{max(seconds * 1000 - self._window_ms, 0)}-0".encode()
        self._after = dict.fromkeys([*self._decisions, *self._events], first)

    def _step(self) -> int:
        """Reads decisions to their end, then the events; how many."""
        read = self._read(self._decisions, self._board.add_decision) + self._read(self._events, self._board.add_event)
        newest_ms = max(int(entry_id.split(b"-")[0]) for entry_id in self._after.values())
        with self._lock:
            self._board.attribute(newest_ms)
        return read

    def _read(self, streams: list[str], add: Callable[[int, dict[bytes, bytes]], None]) -> int:
        """Reads all of them to their ends, each by a command of its own, as the slots of a Redis Cluster demand."""
        read, unread = 0, list(streams)
        while unread and not self._stop.is_set():
            count = READ_AT_ONCE // len(unread)
            with self._client.pipeline(transaction=False) as ranges:
                for key in unread:
                    ranges.xrange(key, min=b"(" + self._after[key], count=count)
                replies = ranges.execute()
            with self._lock:
                for entry_id, fields in merge(*replies, key=_order):
                    add(_order((entry_id, fields))[0], fields)
            for key, entries in zip(list(unread), replies, strict=True):
                if entries:
                    self._after[key] = entries[-1][0]
                    read += len(entries)
                if len(entries) < count:
                    unread.remove(key)
        return read


def _order(entry: tuple[bytes, dict[bytes, bytes]]) -> tuple[int, int]:
    """Log time in ms, and the number within it."""
    ms, seq = entry[0].split(b"-")
    return int(ms), int(seq)
