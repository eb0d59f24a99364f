"""Whether the books are right, as whoever keeps them said it last."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class LedgerState:
    """What the archiver said when it last held the books against Redis; docs/redis.md, ledger."""

    age_s: float
    late: bool
    """It should have been done again long since."""
    accounts: int
    differences: int
    difference_micros: int
    """By how much in all."""
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
            difference_micros=int(said.get("difference_micros", 0)),
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
