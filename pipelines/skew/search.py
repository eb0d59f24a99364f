"""Tries suspicions on decisions whose probabilities differ, and believes the one that explains most of them, then the next."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from features.market import Market
from models.calibration import Calibrator
from models.release import calibrated_column
from pipelines.calibration import calibrated
from pipelines.skew.causes import Suspicion
from pipelines.skew.ranked import Claim, Columns, Ranked

EXACT = 2e-6
"""How near a recomputed probability has to be to the logged one: float32's noise, and far below what counts as a difference."""
ROWS_AT_ONCE, CELLS_AT_ONCE = 40_000, 4_000_000
"""That the model is given, and with which suspicions are tried before the likeliest are believed; of 2,000 features the first."""
ROWS_OF_ONE = 8
"""Of one decision, at most: they do to tell suspicions apart."""


class Model(Protocol):
    """`recompute.Recomputer`, of one release."""

    def encoded(self, tensors: Columns) -> Columns:
        """Transform's columns of [R]."""

    def raw(self, tensors: Columns) -> Columns:
        """`raw.<task>` -> [R]."""


@dataclass(frozen=True, slots=True)
class Explained:
    """Why the probabilities of one decision differ."""

    suspicion: Suspicion
    rows: NDArray[np.int64]
    """[r] of the sample."""
    change: Columns
    """[r] what serving must have had in place of training's tensors."""


Found = dict[int, dict[int, Explained]]
"""Number of a suspicion -> the decisions that it explains."""


class Search:
    """Of one sample."""

    def __init__(
        self, market: Market, model: Model, calibrator: Calibrator, rows: Ranked, suspicions: Sequence[Suspicion]
    ) -> None:
        self._market, self._model, self._calibrator = market, model, calibrator
        self._rows, self._suspicions = rows, suspicions
        self._room = min(ROWS_AT_ONCE, max(CELLS_AT_ONCE // len(rows.training), ROWS_OF_ONE))

    def explain(self, differing: Mapping[int, list[Claim]]) -> dict[int, Explained]:
        """Decision -> why its probabilities differ, where that was found.

        Args:
          differing: number of a decision -> all its claims, those that differ first.
        """
        left = list(differing)
        believed: list[int] = []
        explained: dict[int, Explained] = {}
        suspected = list(range(len(self._suspicions)))
        while left and suspected:
            tried, found = self._try(suspected, left, differing)
            if not believed:
                believed = suspected = _likeliest(found)
            for number in believed:
                explained = found.get(number, {}) | explained
            left = left[tried:]
        return explained

    def _try(self, suspected: Sequence[int], decisions: Sequence[int], differing: Mapping[int, list[Claim]]) -> tuple[int, Found]:
        """How many of the decisions there was room for, one at least, and what explains them."""
        entries: list[tuple[int, int, Explained]] = []
        rows = tried = 0
        for decision in decisions:
            of_one = np.array(list(dict.fromkeys(claim.row for claim in differing[decision]))[:ROWS_OF_ONE])
            training, serving = (
                {name: column[of_one] for name, column in side.items()} for side in (self._rows.training, self._rows.serving)
            )
            changes = ((n, c) for n in suspected for c in self._suspicions[n].changes(training, serving))
            for number, change in islice(changes, max(self._room // len(of_one), 1)):
                entries.append((number, decision, Explained(self._suspicions[number], of_one, change)))
                rows += len(of_one)
            tried += 1
            if rows * (tried + 1) / tried > self._room:
                break
        return tried, self._holding(entries, differing)

    def _holding(self, entries: Sequence[tuple[int, int, Explained]], differing: Mapping[int, list[Claim]]) -> Found:
        """Which of them are so: all logged probabilities of these rows are those recomputed."""
        found: Found = defaultdict(dict)
        for start, end in _batches([len(e.rows) for _, _, e in entries], self._room):
            some = entries[start:end]
            tensors = {
                name: np.concatenate([e.change.get(name, column[e.rows]) for _, _, e in some])
                for name, column in self._rows.training.items()
            }
            raw = self._model.raw(tensors)
            usual = calibrated(self._market, self._calibrator, tensors | raw)
            begin = 0
            for number, decision, e in some:
                rows = slice(begin, begin := begin + len(e.rows))
                p = {name: column[rows] for name, column in usual.items()}
                if e.suspicion.calibrator is not None:
                    columns = {name: column[rows] for name, column in (tensors | raw).items()}
                    p = calibrated(self._market, e.suspicion.calibrator, columns)
                here = {row: i for i, row in enumerate(e.rows.tolist())}
                apart = (abs(p[calibrated_column(c.task)][here[c.row]] - c.logged) for c in differing[decision] if c.row in here)
                if decision not in found[number] and all(a <= EXACT for a in apart):
                    found[number][decision] = e
        return found


def _likeliest(found: Found) -> list[int]:
    """Suspicions, each of which explains something that those before it do not: what explains most first, then the simplest."""
    chosen: list[int] = []
    explained: set[int] = set()
    while found.keys() - chosen:
        best = max(found.keys() - chosen, key=lambda s: (len(found[s].keys() - explained), -s))
        if not found[best].keys() - explained:
            break
        chosen.append(best)
        explained |= found[best].keys()
    return chosen


def _batches(lengths: Sequence[int], most: int) -> list[tuple[int, int]]:
    """Ranges of entries that have at most so many rows together, or are one alone."""
    ranges, begin, rows = [], 0, 0
    for i, length in enumerate(lengths):
        if rows and rows + length > most:
            ranges.append((begin, i))
            begin, rows = i, 0
        rows += length
    return [*ranges, (begin, len(lengths))] if lengths else ranges
