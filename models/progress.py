"""How a fit tells where it is, and what is kept of its course."""

from collections.abc import Callable
from dataclasses import dataclass

from features.spec import Record


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

    @property
    def pace(self) -> str:
        """For people; at most so many seconds are left, since a fit may stop before its last epoch."""
        left = (self.epochs - self.epoch + 1) * self.total - self.rows
        return f"{self.rows_per_s:,.0f} examples/s, at most {left / max(self.rows_per_s, 1e-9):.0f} s left"


Report = Callable[[FitProgress], None]


class Epoch(Record):
    """One pass over the training rows."""

    epoch: int
    seconds: float
    train_loss: float
    """Sum of the tasks' losses, mean over the epoch."""
    valid_loss: dict[str, float]
    """Task -> log loss over the rows that count, divided by all rows."""


class History(Record):
    """The course of a fit."""

    model: str
    primary: str
    """Task whose validation loss stops training."""
    epochs: tuple[Epoch, ...]

    @property
    def kept(self) -> int:
        """The epoch whose weights were kept."""
        return self.best_epochs[self.primary]

    @property
    def best_epochs(self) -> dict[str, int]:
        """Task -> epoch of its lowest validation loss: a task far from `kept` would have liked to stop elsewhere."""
        tasks = self.epochs[0].valid_loss if self.epochs else {}
        return {t: min(self.epochs, key=lambda e: e.valid_loss[t]).epoch for t in tasks}


class Histories(Record):
    """history.json: the fit of each member of the ensemble."""

    fits: tuple[History, ...]
