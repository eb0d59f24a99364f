"""What is commonly run, as documented rules on the same summaries: a score per hour and series, alarming at 1.

The packages themselves must not enter our environment: they drag in dozens of others, or need another Python.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from scipy import stats

from benchmarks.faults.market import Floats
from monitoring.detection.flow_rates import RATES
from monitoring.detection.profile import Profile
from monitoring.summaries import ALL, Numbers, Series

Scores = dict[str, float]
_TFDV_THRESHOLD: Final = 0.1
_EVIDENTLY_ROWS, _EVIDENTLY_P, _EVIDENTLY_DISTANCE = 1000, 0.05, 0.1


def tfdv(now: Profile, earlier: Sequence[Profile]) -> Scores:
    """TensorFlow Data Validation's drift comparators with the usual 0.1: L-infinity for categories, Jensen-Shannon for numbers.

    The latter over ten buckets of equal width. Source: tensorflow_data_validation, `infinity_norm`, `jensen_shannon_divergence`.
    """
    scores = {s.name: float(np.abs(p - q).max()) / _TFDV_THRESHOLD for s, p, q, *_ in _shares(now, earlier)}
    for s, one, other in _numbers(now, earlier):
        p, q = _histograms(one, other, 10)
        scores[s.name] = _jensen_shannon(p, q) / _TFDV_THRESHOLD
    return scores


def evidently(now: Profile, earlier: Sequence[Profile]) -> Scores:
    """Evidently's defaults by column, missing values left out: of a reference of up to 1000 rows KS or chi-squared at .05, of a
    larger one Wasserstein over the reference's standard deviation, or the Jensen-Shannon distance in nats, >= .1.

    Source: evidently, `calculations/stattests/registry.py`, `_get_default_stattest`. A p-value scores .05 / p.
    """
    scores: Scores = {}
    for s, p, q, n, m in _shares(now, earlier):
        p, q = (x[:-1] / max(x[:-1].sum(), 1e-12) for x in (p, q))
        if m <= _EVIDENTLY_ROWS:
            seen = q > 0
            expected, got = n * q[seen], n * p[seen]
            expected *= got.sum() / expected.sum()
            value = float(stats.chisquare(got, expected).pvalue) if seen.sum() > 1 and not p[~seen].any() else 0.0
            scores[s.name] = _EVIDENTLY_P / max(value, 1e-300)
        else:
            scores[s.name] = float(np.sqrt(np.log(2) * _jensen_shannon(p, q))) / _EVIDENTLY_DISTANCE
    for s, one, other in _numbers(now, earlier):
        levels = (np.arange(500) + 0.5) / 500
        if other.rows <= _EVIDENTLY_ROWS:
            at = np.unique(np.concatenate([_middles(one), _middles(other)]))
            gap = float(np.abs(_ecdf(one, at) - _ecdf(other, at)).max())
            effective = np.sqrt(one.present * other.present / max(one.present + other.present, 1))
            scores[s.name] = _EVIDENTLY_P / max(float(stats.kstwobign.sf(gap * effective)), 1e-300)
        else:
            moved = float(np.abs(one.quantile(levels) - other.quantile(levels)).mean())
            scores[s.name] = moved / max(other.deviation(), 1e-3) / _EVIDENTLY_DISTANCE
    return scores


@dataclass(slots=True)
class PageHinkley:
    """river's PageHinkley at its defaults, rises and falls, on the hourly mean of each number and each rate of the traffic.

        m_T = sum_t alpha^(T-t) (x_t - mean_t -+ delta), alarm when it is `threshold` away from its extreme

    Source: river.drift.PageHinkley: min_instances 30, delta .005, threshold 50, alpha .9999.
    """

    state: dict[str, list[float]] = field(default_factory=dict)

    def __call__(self, now: Profile, earlier: Sequence[Profile]) -> Scores:
        del earlier
        return {name: self._step(name, x) for name, x in _means(now) if np.isfinite(x)}

    def copy(self) -> "PageHinkley":
        """To go on with in another way."""
        return PageHinkley({name: list(s) for name, s in self.state.items()})

    def _step(self, name: str, x: float) -> float:
        n, mean, up, least, down, most = self.state.get(name, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
        n += 1
        mean += (x - mean) / n
        up, down = 0.9999 * up + x - mean - 0.005, 0.9999 * down + x - mean + 0.005
        least, most = min(least, up), max(most, down)
        score = max(up - least, most - down) / 50 if n >= 30 else 0.0
        # It starts anew after an alarm, as river does.
        self.state[name] = [0.0] * 6 if score > 1 else [n, mean, up, least, down, most]
        return score


RULES: Final[dict[str, Callable[[], Callable[[Profile, Sequence[Profile]], Scores]]]] = {
    "tfdv": lambda: tfdv,
    "evidently": lambda: evidently,
    "page-hinkley": PageHinkley,
}


def _shares(now: Profile, earlier: Sequence[Profile]) -> Iterator[tuple[Series, Floats, Floats, int, int]]:
    """Series, the hour's shares and those of earlier days together, [V] each, a missing value the last one; and rows."""
    for series, block in now.values.items():
        days = [p.values[series] for p in earlier if series in p.values]
        values = dict.fromkeys(v for b in (block, *days) for v in b.values)
        column = {v: i for i, v in enumerate(values)}

        def counted(b, column=column):  # type: ignore[no-untyped-def]
            i = b.slices.index(ALL)
            counts = np.zeros(len(column) + 2)
            counts[[*(column[v] for v in b.values), len(column)]] = b.counts[i]
            counts[-1] = b.missing[i]
            return counts

        one, other = counted(block), sum(map(counted, days), np.zeros(len(column) + 2))
        if one.sum() and other.sum():
            yield series, one / one.sum(), other / other.sum(), int(one.sum()), int(other.sum())


def _numbers(now: Profile, earlier: Sequence[Profile]) -> Iterator[tuple[Series, Numbers, Numbers]]:
    for series, block in now.numbers.items():
        days = [p.numbers[series] for p in earlier if series in p.numbers]
        if not days:
            continue
        one, *others = (b.numbers[b.slices.index(ALL)] for b in (block, *days))
        other = others[0]
        for more in others[1:]:
            other = other.merge(more)
        if one.present and other.present:
            yield series, one, other


def _means(now: Profile) -> Iterator[tuple[str, float]]:
    for series, block in now.numbers.items():
        yield series.name, block.numbers[block.slices.index(ALL)].mean()
    for rate in RATES:
        if per := rate.per(now.flows[ALL]):
            yield rate.name, rate.hits(now.flows[ALL]) / per


def _middles(x: Numbers) -> Floats:
    return np.asarray(x.low / 2 + x.high / 2)


def _ecdf(x: Numbers, at: Floats) -> Floats:
    return np.asarray(np.concatenate([[0], np.cumsum(x.count)])[np.searchsorted(_middles(x), at, "right")] / x.present)


def _histograms(one: Numbers, other: Numbers, buckets: int) -> tuple[Floats, Floats]:
    low = min(_middles(one).min(), _middles(other).min())
    high = max(_middles(one).max(), _middles(other).max())
    edges = np.linspace(low, max(high, low + 1e-9), buckets + 1)
    p, q = (np.histogram(_middles(x), edges, weights=x.count)[0] / x.present for x in (one, other))
    return p, q


def _jensen_shannon(p: Floats, q: Floats) -> float:
    """In bits, 0 to 1."""
    m = (p + q) / 2

    def relative(a: Floats) -> float:
        return float((a[a > 0] * np.log2(a[a > 0] / m[a > 0])).sum())

    return max((relative(p) + relative(q)) / 2, 0.0)
