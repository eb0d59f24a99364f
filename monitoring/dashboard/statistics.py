"""What the watch knows, as the views of features and predictions draw it. Reads one file, and works things out once an hour."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.errors import ContractError
from monitoring.detection.distances import LEVELS, total_variation, wasserstein
from monitoring.summaries import Numbers, Summary, Values, merged
from monitoring.watch import MonitorStore, monitor_path
from store.sqlite import FileUnavailable

Json = dict[str, Any]
Floats = NDArray[np.float64]
_KEPT = 64
"""Answers that are kept until the watch knows more."""


class Statistics:
    """The watch's file of one archive."""

    def __init__(self, log_dir: Path | None, day_length_s: int) -> None:
        self._log_dir = log_dir
        self.day_ms = day_length_s * 1000
        self.hour_ms = self.day_ms // 24
        self._known: dict[tuple[object, ...], Json] = {}

    @contextmanager
    def reading(self) -> Iterator[MonitorStore]:
        """The file as it is.

        Raises:
          FileUnavailable: there is none yet, or it cannot be read.
        """
        if self._log_dir is None:
            raise FileUnavailable("statistics", "OFFERRANK_LOG_DIR names no archive")
        store = MonitorStore.to_read(self._log_dir)
        try:
            yield store
        finally:
            store.close()

    def answer(self, name: tuple[object, ...], make: Callable[[MonitorStore, int], Json]) -> Json:
        """What `make` says of the store, the last hour given; made anew when the watch has read more, or what is in the way."""
        if self._log_dir is not None and not monitor_path(self._log_dir).exists():
            return {"last_hour_ms": None}
        try:
            return self._answer(name, make)
        except FileUnavailable as e:
            return {"last_hour_ms": None, "trouble": str(e)}

    def _answer(self, name: tuple[object, ...], make: Callable[[MonitorStore, int], Json]) -> Json:
        with self.reading() as store:
            first, last = store.first_and_last_hour()
            if not last:
                return {"last_hour_ms": None}
            key = (*name, last, store.taken("decisions"), store.taken("events"))
            if key not in self._known:
                said = {"first_hour_ms": first, "last_hour_ms": last, "hour_length_ms": self.hour_ms} | make(store, last)
                while len(self._known) >= _KEPT:
                    self._known.pop(next(iter(self._known)))
                self._known[key] = said
            return self._known[key]


def joined(summaries: Iterable[Summary]) -> Summary | None:
    """All together; where a feature has changed its type, those of the newest."""
    found: Summary | None = None
    for one in reversed(list(summaries)):
        try:
            found = one if found is None else merged(found, one)
        except ContractError:
            break
    return found


def is_known(summary: Summary | None) -> bool:
    """Whether there is anything in it."""
    return isinstance(summary, Numbers | Values) and summary.rows > 0


def shares_of(summary: Numbers | Values) -> Json:
    """Rows, and which shares of them are missing or unknown."""
    rows = max(summary.rows, 1)
    unknown = summary.unknown / max(summary.present, 1) if isinstance(summary, Values) else None
    return {"rows": summary.rows, "missing": summary.missing / rows, "unknown": unknown}


def distance(one: Summary | None, other: Summary | None) -> float | None:
    """Wasserstein of numbers, in their own unit; total variation of values, in [0, 1]. None where there is nothing to compare."""
    match one, other:
        case Numbers(), Numbers() if one.present and other.present:
            return float(wasserstein(one.quantile(LEVELS), other.quantile(LEVELS)))
        case Values(), Values() if one.present and other.present:
            names = sorted({*one.counts, *other.counts})
            a, b = (np.array([*(v.counts.get(n, 0) for n in names), v.other], np.float64) / v.present for v in (one, other))
            return float(total_variation(a, b))
    return None


def spread(summary: Summary | None) -> float | None:
    """Standard deviation, by which distances of numbers compare; 1 of values."""
    if isinstance(summary, Numbers) and summary.present:
        return summary.deviation() or None
    return 1.0 if isinstance(summary, Values) else None


def finite(value: float | None) -> float | None:
    """What JSON can say."""
    return float(value) if value is not None and np.isfinite(value) else None
