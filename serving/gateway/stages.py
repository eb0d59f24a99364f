"""Times the stages of one decision and notes which of them had to fall back."""

import logging
import time
from collections.abc import Awaitable
from typing import TypeVar

from domain.errors import ContractError, DependencyError
from monitoring import metrics

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Fallback = TypeVar("Fallback")


class Stages:
    """`lap` after each stage; `or_else` around each call that may fail."""

    def __init__(self) -> None:
        self.us: dict[str, int] = {}
        self.degraded: list[str] = []
        self._started = self._lap = time.perf_counter_ns()

    def lap(self, stage: str) -> None:
        """Ends a stage; a stage ended twice adds up."""
        now = time.perf_counter_ns()
        self.us[stage] = self.us.get(stage, 0) + (now - self._lap) // 1000
        self._lap = now

    @property
    def total_us(self) -> int:
        """Since the first stage began."""
        return (time.perf_counter_ns() - self._started) // 1000

    def degrade(self, what: str) -> None:
        """Notes a fallback, once per decision."""
        if what not in self.degraded:
            self.degraded.append(what)
            metrics.DEGRADED.labels(what).inc()

    async def or_else(self, fallback: Fallback, call: Awaitable[Result], what: str) -> Result | Fallback:
        """The result of a call, or the fallback where what it depends on failed or answered nonsense."""
        try:
            return await call
        except DependencyError as e:
            log.debug("%s falls back: %s", what, e)
        except ContractError as e:
            log.error("%s falls back: %s", what, e)
            metrics.CONTRACT_ERRORS.inc()
        self.degrade(what)
        return fallback
