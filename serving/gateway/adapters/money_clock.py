"""The time of Redis, by which money is counted, as a gateway knows it."""

import logging

from domain.clock import now_ms

SHORTEST_NOTICE_MS = 1000
"""Of how far the own clock may be off before it is said."""

log = logging.getLogger(__name__)


class MoneyClock:
    """The own clock, corrected by how far it was off when Redis last answered."""

    def __init__(self) -> None:
        self.offset_ms = 0
        """Redis' time less the own."""
        self._said_ms = 0

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return now_ms() + self.offset_ms

    def set(self, redis_ms: int, asked_ms: int, answered_ms: int) -> None:
        """Takes an answer of Redis, which fell between two readings of the own clock."""
        self.offset_ms = redis_ms - (asked_ms + answered_ms) // 2
        if abs(self.offset_ms - self._said_ms) >= SHORTEST_NOTICE_MS:
            self._said_ms = self.offset_ms
            log.warning("this machine's clock is %d ms off that of Redis, whose time is used", -self.offset_ms)
