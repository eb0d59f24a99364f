"""How a fit tells where it is, and what is kept of its course."""

from collections.abc import Callable
from dataclasses import dataclass

from features.spec import Record

MEANS_SOMETHING_S = 2.0


@dataclass(frozen=True, slots=True)
class FitProgress:
    """Where a fit is."""

    model: str
    epoch: int
    epochs: int
    rows: int
    """Seen in this epoch, of `total`."""
    total: int
    rows_per_s: float | None
    """None until it means something."""
    loss: float

    @property
    def pace(self) -> str:
        """To follow what else is said; at most so many seconds are left, since a fit may stop before its last epoch."""
        if self.rows_per_s is None:
            return ""
        left = (self.epochs - self.epoch + 1) * self.total - self.rows
        return f", {self.rows_per_s:,.0f} examples/s, at most {left / max(self.rows_per_s, 1e-9):.0f} s left"


@dataclass(slots=True)
class Pace:
    """Rows per second of a fit, without its first batch, in which a graph is built: it takes as long as hundreds of others."""

    rows_per_s: float | None = None
    """Of this epoch, or the one before until this one's means something."""
    _rows: int = 0
    _first_rows: int = 0
    _first_s: float = 0.0

    def batch_ended(self, rows: int, now_s: float) -> None:
        """A batch of an epoch, with so many rows of it so far."""
        if not self._rows < rows or not self._rows:  # the first of an epoch
            self._first_rows, self._first_s = rows, now_s
        elif now_s - self._first_s >= MEANS_SOMETHING_S:
            self.rows_per_s = (rows - self._first_rows) / (now_s - self._first_s)
        self._rows = rows


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


class Recall(Record):
    """Of offers that were wanted, among those of the market, by the two towers, around their pass over new clicks."""

    at: int
    """Of so many offers that are nearest to a request."""
    clicks: int
    before: float | None
    judged: float | None
    """In the pass: of each part of the rows when the parts before it were learned."""
    after: float | None


class Histories(Record):
    """history.json: the fit of each member of the ensemble; of one that goes on, its pass over the new rows."""

    fits: tuple[History, ...]
    recall: Recall | None = None
    """Of a progressive pass."""
