"""Whether the books are right, and how long ago that was last seen: the page's light, and what Prometheus is told."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from prometheus_client import generate_latest

from monitoring import metrics


@dataclass(frozen=True, slots=True)
class LedgerState:
    """What the archiver said when it last held the books against Redis; docs/redis.md, ledger."""

    age_s: float
    late: bool
    """It should have been done again long since."""
    accounts: int
    differences: int
    refused: int
    budgets: int
    closed: int
    trouble: str

    @classmethod
    def of(cls, said: Mapping[str, str], at_ms: int) -> Self | None:
        """None where it has not been done yet."""
        if "at_ms" not in said:
            return None
        age_s = max(at_ms - int(said["at_ms"]), 0) / 1000
        return cls(
            age_s=age_s,
            late=age_s > 3 * float(said["interval_s"]) + 10,
            accounts=int(said["accounts"]),
            differences=int(said["differences"]),
            refused=int(said["refused"]),
            budgets=int(said["budgets"]),
            closed=int(said["closed"]),
            trouble=said.get("trouble", ""),
        )

    @property
    def ok(self) -> bool:
        """Every micro is accounted for, and everything can be sold."""
        return not (self.late or self.differences or self.refused or self.closed or self.trouble)

    @property
    def detail(self) -> str:
        """The light's text."""
        wrong = [
            f"log and Redis differ on {self.differences} of {self.accounts} accounts" if self.differences else "",
            f"{self.closed} of {self.budgets} budgets are closed" if self.closed else "",
            f"{self.refused} entries refused" if self.refused else "",
            self.trouble,
        ]
        found = "; ".join(filter(None, wrong)) or f"{self.accounts} accounts agree to the micro"
        return f"{found}, {self.age_s:.0f} s ago"


def exposition(state: LedgerState | None) -> bytes:
    """The page's metrics in Prometheus's text format; those of books that have not been compared yet are no numbers."""
    metrics.LEDGER_DIFFERENCES.set(state.differences + state.refused if state else math.nan)
    metrics.LEDGER_AGE_SECONDS.set(state.age_s if state else math.nan)
    metrics.BUDGETS_CLOSED.set(state.closed if state else math.nan)
    metrics.BUDGETS_OPEN.set(state.budgets - state.closed if state else math.nan)
    return generate_latest(metrics.PAGE)
