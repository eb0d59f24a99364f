"""Fails fast after several failures in a row, so that nobody queues for a dependency that is away."""

import time
from collections.abc import Callable

from domain.errors import Unavailable


class Breaker:
    """Before each call `check`, after it `record`.

        closed      every call goes through; so many failures in a row open it
        open        none does, for a moment
        half-open   one goes through, a probe, and those who come meanwhile do not: it closes the breaker, or opens it again

    Args:
      dependency: its name in errors.
    """

    def __init__(
        self, dependency: str, failures_to_open: int, open_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._dependency = dependency
        self._failures_to_open = failures_to_open
        self._open_s = open_s
        self._clock = clock
        self._failures = 0
        self._open_until = 0.0

    @property
    def closed(self) -> bool:
        """Whether the last calls did not all fail."""
        return self._failures < self._failures_to_open

    def check(self) -> None:
        """Lets a call through; raises Unavailable while open."""
        if self.closed:
            return
        now = self._clock()
        if now < self._open_until:
            raise Unavailable(self._dependency, f"not asked: the last {self._failures} calls failed")
        self._open_until = now + self._open_s  # a probe that is never heard of again is followed by another

    def record(self, *, ok: bool) -> None:
        """Takes note of how a call ended."""
        self._failures = 0 if ok else self._failures + 1
        self._open_until = self._clock() + self._open_s
