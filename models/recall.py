"""The towers' pass over new clicks: it judges before it learns, by how many offers are put before the one that was wanted."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.market import Market
from models.embedding import of_group
from models.fit import Rows, clicked_rows, learn_clicks
from models.progress import Recall, Report
from models.retrieval import count_ahead
from models.two_tower import TwoTower

AT = 10
BLOCKS = 4
"""Parts of the new rows, in order: each is judged by towers that have learned those before it."""
AT_ONCE = 2048

Ahead = NDArray[np.int64]
"""[N], offers of the catalogue that are nearer to a row's request than its own; -1 where that was not asked."""


def learn_new_clicks(
    market: Market, towers: TwoTower, rows: Rows, asked: NDArray[np.bool_], catalogue: dict[str, Any], report: Report
) -> tuple[Ahead, Recall]:
    """One pass over the clicks among new rows.

    Args:
      rows: in the order of time.
      asked: [N], rows to judge by: those with a label that somebody wanted.
      catalogue: packed features of every offer of the market.
    Returns:
      how each of the asked rows was judged when nothing after the part before it was learned, and recall of all of them before
      the pass, in it and after it.
    """
    before, judged = ahead(towers, rows, asked, catalogue), np.full(len(rows), -1)
    for block in np.array_split(np.arange(len(rows)), BLOCKS):
        part = rows.take(block)
        judged[block] = ahead(towers, part, asked[block], catalogue)
        learn_clicks(market, towers, part, 1, report)
    at = min(AT, len(next(iter(catalogue.values()))))
    recalls = [_recall(found, at) for found in (before, judged, ahead(towers, rows, asked, catalogue))]
    clicks = int(clicked_rows(market, rows).sum())
    return judged, Recall(at=at, clicks=clicks, before=recalls[0], judged=recalls[1], after=recalls[2])


def ahead(towers: TwoTower, rows: Rows, asked: NDArray[np.bool_], catalogue: dict[str, Any]) -> Ahead:
    """By the towers as they are."""
    found = np.full(len(rows), -1)
    offers = towers.offer(**catalogue).numpy()
    at = np.flatnonzero(asked)
    for chosen in (at[start : start + AT_ONCE] for start in range(0, len(at), AT_ONCE)):
        inputs = {name: column[chosen] for name, column in rows.inputs.items()}
        request, own = towers.query(**of_group(inputs, "request")).numpy(), towers.offer(**of_group(inputs, "offer")).numpy()
        found[chosen] = count_ahead(request, own, offers)
    return found


def _recall(found: Ahead, at: int) -> float | None:
    asked = found >= 0
    return float(np.mean(found[asked] < at)) if asked.any() else None
