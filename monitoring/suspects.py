"""Finds in the event log what no rule marked as it came: who clicks far more often than its peers, hour by hour.

Pure: tables of the log in, suspects out. What to do about them is for a person to say; docs/traffic.md.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from domain.events import EventStatus, EventType

HOUR_MS = 3_600_000
DIMENSIONS = {"key": "asked_by", "shopper": "shopper_key", "address": "client", "offer": "offer_id", "placement": "placement"}
"""What peers are of, and the column that names them."""
PEOPLE = ("shopper", "address")
"""Dimensions of which there are many small ones: the number of clicks says something, too, and each has one vote on what is
usual, so that thirty robots among two thousand shoppers do not become it."""
JUDGED_IMPRESSIONS = 20
"""Hours with fewer impressions say nothing of what is usual."""
FEWEST_PEERS = 5
MAD_TO_SIGMA = 1.4826
LEAST_LOG_SPREAD = 0.5
"""Of log clicks, where nearly all click once an hour and the median absolute deviation is 0."""

COLUMNS = {
    **dict.fromkeys(("type", "status", "impression_id", "offer_id", "campaign_id", "event_id"), pa.string()),
    **dict.fromkeys(("shopper_key", "asked_by", "client"), pa.string()),
    **dict.fromkeys(("charged_micros", "day", "time_ms"), pa.int64()),
}
"""Of the event log, as far as it is needed; and `placement`, from the log of decisions."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """One shopper, address, offer, placement or key in one hour."""

    dimension: str
    value: str
    hour_ms: int
    measure: str
    """`rate`, clicks per impression, or `clicks`."""
    clicks: int
    impressions: int
    usual: float
    """Clicks of a peer with as many impressions, or just of a peer."""
    z: float
    """By how many robust standard deviations it clicks more."""
    charges: pa.Table
    """What its impressions were charged, on whatever event, and have not got back: rows of the event log."""

    @property
    def charged_micros(self) -> int:
        """What it has cost."""
        return int(pc.sum(self.charges["charged_micros"]).as_py() or 0)


def find_suspects(events: pa.Table, least_z: float = 6.0, least_clicks: int = 10) -> list[Suspect]:
    """Who clicked much more than its peers, the most unusual first.

        rate    z = (k - m p) / sqrt(m p (1 - p) + (m s)^2)      k clicks, m impressions of one hour
        clicks  z = (log(1 + k) - median) / max(1.4826 MAD, .5)   over the hours of all that clicked at all

    p and s are median and 1.4826 MAD of k / m over the hours of keys, offers and placements. Shoppers and addresses mostly have
    an impression or two: p is their mean with one vote each, and s = p. The first term of the root is what chance does to so few
    impressions, the second how much peers differ. Events that were marked when they came are left out on both sides.

    Args:
      events: `COLUMNS` and `placement`.
    Source: Leys et al. (2013) on the median absolute deviation.
    """
    valid = events.filter(pc.not_equal(events["status"], EventStatus.INVALID.value))
    found: list[Suspect] = []
    for dimension, column in DIMENSIONS.items():
        known = valid.filter(pc.and_(pc.is_valid(valid[column]), pc.not_equal(pc.fill_null(valid[column], ""), "")))
        cells = _cells(known, column)
        judged = [("rate", *_by_rate(cells, dimension in PEOPLE))]
        if dimension in PEOPLE:
            judged.append(("clicks", *_by_volume(cells)))
        for measure, z, usual in judged:
            for i in np.flatnonzero((z >= least_z) & (cells.clicks >= least_clicks)).tolist():
                of_cell = known.filter(pc.and_(pc.equal(known[column], cells.value[i]), _in_hour(known, cells.hour[i])))
                charges = _charges(valid, of_cell["impression_id"])
                counts = int(cells.clicks[i]), int(cells.impressions[i])
                hour_ms = int(cells.hour[i]) * HOUR_MS
                found.append(Suspect(dimension, cells.value[i], hour_ms, measure, *counts, float(usual[i]), float(z[i]), charges))
    return sorted(found, key=lambda s: -s.z)


def charges_once(suspects: list[Suspect]) -> Iterator[tuple[Suspect, Mapping[str, object]]]:
    """Every charge with the most unusual of its suspects."""
    seen: set[tuple[object, ...]] = set()
    for suspect in suspects:
        for row in suspect.charges.to_pylist():
            name = row["impression_id"], row["type"], row["event_id"]
            if name not in seen:
                seen.add(name)
                yield suspect, row


@dataclass(frozen=True, slots=True)
class _Cells:
    """[N] values of a dimension in one hour each."""

    value: list[str]
    hour: NDArray[np.int64]
    clicks: NDArray[np.float64]
    impressions: NDArray[np.float64]


def _cells(events: pa.Table, column: str) -> _Cells:
    if not len(events):
        return _Cells([], np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
    names = pc.dictionary_encode(events[column].combine_chunks())
    names = names.combine_chunks() if isinstance(names, pa.ChunkedArray) else names
    hour = events["time_ms"].to_numpy() // HOUR_MS
    first = int(hour.min())
    spread = int(hour.max()) - first + 1
    cell, of = np.unique(names.indices.to_numpy() * spread + (hour - first), return_inverse=True)
    kind = events["type"].to_numpy()
    clicks, impressions = (
        np.bincount(of, kind == k.value, len(cell)).astype(np.float64) for k in (EventType.CLICK, EventType.IMPRESSION)
    )
    return _Cells([names.dictionary[int(i)].as_py() for i in cell // spread], cell % spread + first, clicks, impressions)


def _by_rate(cells: _Cells, people: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """z of each cell, and the clicks that are usual for its impressions."""
    k, m = cells.clicks, cells.impressions
    peers = m >= (1 if people else JUDGED_IMPRESSIONS)
    if np.count_nonzero(peers) < FEWEST_PEERS:
        return np.zeros(len(k)), np.zeros(len(k))
    rates = np.minimum(k[peers] / m[peers], 1.0)
    p = float(np.clip(rates.mean() if people else np.median(rates), 0.5 / m.sum(), 0.999))
    s = p if people else MAD_TO_SIGMA * float(np.median(np.abs(rates - p)))
    return np.where(m > 0, (k - m * p) / np.sqrt(np.maximum(m, 1) * p * (1 - p) + (m * s) ** 2), 0.0), m * p


def _by_volume(cells: _Cells) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """z of each cell, and the clicks that are usual."""
    clicking = cells.clicks > 0
    if np.count_nonzero(clicking) < FEWEST_PEERS:
        return np.zeros(len(clicking)), np.zeros(len(clicking))
    x = np.log1p(cells.clicks)
    middle = float(np.median(x[clicking]))
    spread = max(MAD_TO_SIGMA * float(np.median(np.abs(x[clicking] - middle))), LEAST_LOG_SPREAD)
    return np.where(clicking, (x - middle) / spread, 0.0), np.full(len(x), np.expm1(middle))


def _in_hour(events: pa.Table, hour: int) -> pa.ChunkedArray:
    begin = int(hour) * HOUR_MS
    return pc.and_(pc.greater_equal(events["time_ms"], begin), pc.less(events["time_ms"], begin + HOUR_MS))


def _charges(events: pa.Table, impression_id: pa.ChunkedArray) -> pa.Table:
    """Charges of impressions of which nothing was taken back yet."""
    of_them = events.filter(pc.is_in(events["impression_id"], value_set=impression_id.unique()))
    adjusted = of_them.filter(pc.equal(of_them["type"], EventType.ADJUSTMENT.value))["impression_id"].unique()
    left = pc.and_not(pc.not_equal(of_them["charged_micros"], 0), pc.is_in(of_them["impression_id"], value_set=adjusted))
    return of_them.filter(left)
