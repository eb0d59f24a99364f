"""How a fit tells where it is."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FitProgress:
    """Where a fit is."""

    model: str
    epoch: int
    epochs: int
    rows: int
    """Seen in this epoch, of `total`."""
    total: int
    rows_per_s: float
    loss: float


Report = Callable[[FitProgress], None]
