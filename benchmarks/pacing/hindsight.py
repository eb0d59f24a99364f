"""What a campaign could have had at most, had it known the day beforehand.

    maximise    sum_i v_i x_i
    subject to  sum_i c_i x_i <= budget,   0 <= x_i <= 1

over the pages i of the day for which it was a candidate and could have paid, c_i <= v_i: v_i is what it was expected to pay at
most, its bid by the probability of the billed event, and c_i what it would have been expected to pay, all others bidding as they
did. With one constraint beside the bounds the optimum of the linear programme takes pages by v_i / c_i until the money is gone,
and a part of the last.

Source: Balseiro and Gur (2019), Learning in Repeated Auctions with Budgets: the benchmark of their regret.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.pacing.market import Floats


def optimum(value: Floats, cost: Floats, budget: float) -> float:
    """Of the linear programme. value, cost: [n], above 0."""
    order = np.argsort(-(value / cost), kind="stable")
    spent = np.cumsum(cost[order])
    whole = int(np.searchsorted(spent, budget, side="right"))
    had = float(value[order[:whole]].sum())
    if whole < len(order):
        had += float((budget - (spent[whole - 1] if whole else 0.0)) / cost[order[whole]] * value[order[whole]])
    return had


class Hindsight:
    """Gathers a day's pages for one controller."""

    def __init__(self) -> None:
        self._value: list[NDArray[np.float32]] = []
        self._cost: list[NDArray[np.float32]] = []

    def add(self, value: Floats, cost: Floats) -> None:
        """[n, K] each, of the day's next n pages."""
        self._value.append(value.astype(np.float32).ravel())
        self._cost.append(cost.astype(np.float32).ravel())

    def of(
        self, by_campaign: Sequence[NDArray[np.int64]], hour: NDArray[np.int64], budget_micros: Floats
    ) -> tuple[Floats, Floats]:
        """The optimum [C], and what all pages that a campaign could have paid for would have cost in each hour, [24, C].

        Args:
          by_campaign: [C] places among the day's pages times candidates.
          hour: [pages times candidates]
        """
        value, cost = (np.concatenate(of).astype(np.float64) for of in (self._value, self._cost))
        best, demand = np.zeros(len(by_campaign)), np.zeros((24, len(by_campaign)))
        for c, at in enumerate(by_campaign):
            at = at[cost[at] <= value[at]]
            best[c] = optimum(value[at], cost[at], float(budget_micros[c]))
            demand[:, c] = np.bincount(hour[at], cost[at], minlength=24)
        return best, demand
