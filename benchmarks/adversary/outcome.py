"""What a sale came to: read once all is over, by the same rules for every case."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from benchmarks.adversary.row import Row
from benchmarks.adversary.running import Running
from benchmarks.adversary.shoppers import Page, Shoppers, arrived

SLOTS = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """Money and clicks of a case, and the slots of some of its pages."""

    budget_micros: int
    charged_micros: int
    sellable: int
    sold: int
    lost: int
    doubled: int
    over_micros: int
    exact: bool
    """Whether log and Redis agree to the micro."""

    @classmethod
    def of(cls, case: Running, shoppers: Shoppers, pages: Sequence[Page], before: Mapping[tuple[str, int], int]) -> Self:
        """Waits until acknowledged clicks are in the archive, or should be.

        Args:
          pages: of which the slots count.
          before: `Running.charged` before the sale.
        """
        lost, doubled = arrived(case, shoppers.clicked)
        budget, charged = case.charged_since(before)
        sold = sum(p.slots for p in pages)
        return cls(budget, charged, SLOTS * len(pages), sold, lost, doubled, case.over_micros(), case.reconciled())

    @property
    def well(self) -> bool:
        """Something was sold, 99 % of what could be, and nothing was lost, doubled or overspent."""
        exact = self.exact and not (self.lost or self.doubled or self.over_micros)
        return exact and self.charged_micros > 0 and self.sold >= 0.99 * self.sellable

    def row(self, name: str, *, ok: bool, said: str, recovery_s: float | None = None) -> Row:
        """Of the table; `ok` is what a case asks for beside `well`."""
        return Row(
            name,
            ok=ok and self.well,
            budget_micros=self.budget_micros,
            charged_micros=self.charged_micros,
            sellable=self.sellable,
            sold=self.sold,
            lost=self.lost,
            doubled=self.doubled,
            recovery_s=recovery_s,
            said=said,
        )
