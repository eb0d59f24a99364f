"""Money is int64 micros of the market's currency: 1.00 USD is 1_000_000.

eCPM may be a float, because it only ranks. A float becomes money here and nowhere else.
"""

import math

import numpy as np
from numpy.typing import NDArray

MICROS = 1_000_000
MAX_MICROS = 2**53  # Redis scripts compute in doubles: beyond this they are no longer exact.


def to_price_micros(exact: float, bid_micros: int) -> int:
    """Rounds an auction's exact price up to whole micros, never above the bid.

    Up, so that the winner's eCPM at the charged price is at least the next eCPM; capped, so that float error can never
    charge more than was offered. A tolerance of 1e-6 micros keeps 3.0000000001 at 3.

    Args:
      exact: price in micros, >= 0 and finite.
      bid_micros: most the bidder pays, >= 0.
    Returns:
      int micros in [0, bid_micros].
    """
    return min(max(math.ceil(exact - 1e-6), 0), bid_micros)


def to_prices_micros(exact: NDArray[np.float64], bid_micros: NDArray[np.int64]) -> NDArray[np.int64]:
    """`to_price_micros` of many, [N], none of them negative."""
    prices: NDArray[np.int64] = np.minimum(np.ceil(exact - 1e-6), bid_micros).astype(np.int64)
    return prices


def expected_micros(micros: int, probability: float) -> int:
    """What a charge is expected to come to, rounded up: what is set aside for it is never less, and never nothing.

    Args:
      probability: of the charge, in (0, 1].
    Returns:
      int micros in [1, micros]; 0 for a charge of 0.
    """
    return min(max(math.ceil(micros * probability - 1e-6), 1), micros)


def pace_bid_micros(bid_micros: NDArray[np.int64], multiplier: NDArray[np.float64]) -> NDArray[np.int64]:
    """Bids scaled by a multiplier in [0, 1], rounded down: pacing never offers more than it was told to.

    Args:
      bid_micros: [N], >= 0.
      multiplier: [N].
    Returns:
      int64 [N], in [0, bid_micros].
    """
    exact: NDArray[np.float64] = np.floor(bid_micros * multiplier)
    return exact.astype(np.int64)


def format_micros(micros: int, currency: str) -> str:
    """`1234567, "USD"` -> `1.234567 USD`, trimmed to at least cents; exact, no float."""
    sign = "-" if micros < 0 else ""
    whole, fraction = divmod(abs(micros), MICROS)
    digits = f"{fraction:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole:,}.{digits} {currency}"
