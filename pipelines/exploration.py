"""What rows say of exploration: whether their page was drawn at random, and how likely the offer was in its slot."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.spec import EXPLORED, PROPENSITY
from models.clusters import of_rows
from models.explored import Choice, OnExplored, compare_choices
from pipelines.calibration import Columns
from pipelines.clusters import clusters_of
from pipelines.text import holds_several

SAID_AS = {EXPLORED: "explored", PROPENSITY: "propensity"}
"""Column of checked rows -> as rows that were joined from the log have it."""
_BILLION = 1e9


def exploration_columns(columns: dict[str, pa.Array], rows: int) -> dict[str, pa.Array]:
    """`explored`, 0 or 1, and the propensity in billionths; -1 for whatever else a file means by the names."""
    explored, propensity = (_numbers(columns.get(name), rows) for name in SAID_AS.values())
    said = np.isin(explored, (0, 1))
    known = (propensity > 0) & (propensity <= 1)
    billionths = np.maximum(np.rint(np.where(known, propensity, 0) * _BILLION), 1)
    return {
        EXPLORED: pa.array(np.where(said, explored, -1).astype(np.int64)),
        PROPENSITY: pa.array(np.where(known, billionths, -1).astype(np.int64)),
    }


def on_explored(rows: Columns, label: str, p: str, counts: NDArray[np.bool_]) -> OnExplored | None:
    """Of the rows that count, those of explored pages; None where rows do not say, or none are.

    Args:
      label, p: columns.
    """
    if EXPLORED not in rows:
        return None
    shown_to = of_rows(clusters_of(rows), counts)
    return OnExplored.of(rows[label][counts], rows[p][counts], rows[EXPLORED][counts], shown_to)


def choice(rows: Columns, label: str, ours: str, theirs: NDArray[np.float64], counts: NDArray[np.bool_]) -> Choice | None:
    """This model's choice of the rows that count against that of the release in service; None where rows say no propensities.

    Args:
      label, ours: columns.
      theirs: [R], the other's calibrated probabilities.
    """
    if PROPENSITY not in rows:
        return None
    shown_to = of_rows(clusters_of(rows), counts)
    propensity = rows[PROPENSITY][counts] / _BILLION
    return compare_choices(rows[label][counts], rows[ours][counts], theirs[counts], propensity, shown_to)


def _numbers(raw: pa.Array | None, rows: int) -> NDArray[np.float64]:
    """[R], NaN for what is none."""
    if raw is None or holds_several(raw.type):
        return np.full(rows, np.nan)
    try:
        return np.asarray(pc.cast(raw, pa.float64(), safe=False).to_numpy(zero_copy_only=False))
    except pa.ArrowException:
        return np.full(rows, np.nan)
