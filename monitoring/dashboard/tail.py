"""Follows the two streams from the oldest entry they still hold, without a consumer group: reading leaves no trace."""

import logging
import threading

import redis

from domain.keys import PARTITIONS, Keys
from monitoring.dashboard.board import Board

log = logging.getLogger("offerrank.dashboard")
READ_AT_ONCE = 500
RETRY_S = 1.0


class Tail:
    """A thread that feeds the board. Decisions are read ahead of events, which refer to them."""

    def __init__(self, client: "redis.Redis", keys: Keys, board: Board, lock: threading.Lock, window_s: int) -> None:
        self._client, self._keys, self._board, self._lock = client, keys, board, lock
        self._window_ms = window_s * 1000
        self._after: dict[str, bytes] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tail", daemon=True)
        self.connected: bool | None = None
        self.caught_up = False
        """Whether the ends of both streams have been reached once."""

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
        self._after = dict.fromkeys([self._keys.decisions, *self._events()], first)

    def _events(self) -> list[str]:
        return [self._keys.events(p) for p in range(PARTITIONS)]

    def _step(self) -> int:
        """Reads decisions to their end, then the events; how many."""
        read = 0
        logs = [(self._keys.decisions, self._board.add_decision), *((key, self._board.add_event) for key in self._events())]
        for key, add in logs:
            while not self._stop.is_set():
                entries = self._client.xrange(key, min=b"(" + self._after[key], count=READ_AT_ONCE)
                with self._lock:
                    for entry_id, fields in entries:
                        add(int(entry_id.split(b"-")[0]), fields)
                if entries:
                    self._after[key] = entries[-1][0]
                    read += len(entries)
                if len(entries) < READ_AT_ONCE:
                    break
        newest_ms = max(int(entry_id.split(b"-")[0]) for entry_id in self._after.values())
        with self._lock:
            self._board.attribute(newest_ms)
        return read
