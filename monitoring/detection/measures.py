"""Every stream of one hour: how far it is from the same hours of earlier days, and how far it would be by sampling alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitoring.detection.distances import Floats, freeman_tukey, stable_rate, total_variation, wasserstein
from monitoring.detection.flow_rates import AMOUNTS, RATES
from monitoring.detection.nulls import (
    FEWEST_OF_A_RATE,
    FEWEST_ROWS,
    Simulated,
    shares_noise,
    simulated_shares_noise,
    simulated_wasserstein_noise,
    wasserstein_noise,
)
from monitoring.detection.profile import TAIL, NumberBlock, Profile, ValueBlock
from monitoring.detection.reference import harmonic_rows, number_days, over_days, usual_days, value_days
from monitoring.summaries import FLOW, Numbers, Series, Slice

_WASSERSTEIN_VARIANCE: Final = 0.12
"""Of a Wasserstein distance by sampling, in units of its mean square: that of a chi with about four degrees of freedom."""
_HALF_NORMAL_VARIANCE: Final = 0.36
_LEAST_CHANGE: Final = 1e-4
"""Of a number, as a part of its size: where it is nearly constant, what is less is no change."""
_NOTHING: Final[Mapping[str, int]] = {}
_VANISHED_ROWS: Final = 20.0
"""A value of which as many rows are expected and none came has vanished."""


class Stream(NamedTuple):
    """What one test watches."""

    kind: str
    """`missing`, `unknown`, `new_value`, `vanished_value`, `distribution`, `tail`, `prediction`, `flow`."""
    series: Series
    slice: Slice


@dataclass(frozen=True, slots=True)
class Measured:
    """K streams of one hour. Arrays are [K]; NaN where there are too few rows or too few earlier days."""

    streams: list[Stream] = field(default_factory=list)
    deviation: Floats = field(default_factory=lambda: np.zeros(0))
    """On a scale on which it varies evenly."""
    noise: Floats = field(default_factory=lambda: np.zeros(0))
    """Root mean square of the deviation by sampling alone."""
    least: Floats = field(default_factory=lambda: np.zeros(0))
    """Variance of deviation / noise by sampling alone."""
    rising: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    """Only a rise is a fault."""
    size: Floats = field(default_factory=lambda: np.zeros(0))
    """What a person reads: a rate, or a distance in the feature's own unit."""
    usual: Floats = field(default_factory=lambda: np.zeros(0))
    rows: Floats = field(default_factory=lambda: np.zeros(0))


def measure(now: Profile, earlier: Sequence[Profile], simulated: Simulated) -> Measured:
    """All streams of an hour against the hours that `earlier_hours` named, as far as they are there."""
    return joined(list(_measure(now, earlier, simulated)))


def joined(found: Sequence[Measured]) -> Measured:
    """All of them as one."""
    if not found:
        return Measured()
    names = ("deviation", "noise", "least", "rising", "size", "usual", "rows")
    return Measured([s for m in found for s in m.streams], *(np.concatenate([getattr(m, n) for m in found]) for n in names))


def _measure(now: Profile, earlier: Sequence[Profile], simulated: Simulated) -> Iterator[Measured]:
    for series, numbers in now.numbers.items():
        yield from _of_numbers(series, numbers, earlier, simulated)
    for series, values in now.values.items():
        yield from _of_values(series, values, earlier, simulated)
    yield from _of_flows(now, earlier)


def _of_numbers(series: Series, block: NumberBlock, earlier: Sequence[Profile], simulated: Simulated) -> Iterator[Measured]:
    days = number_days(series, block.slices, earlier)
    yield _rate("missing", series, block.slices, block.missing, block.rows, days.missing, days.rows)

    there = days.rows - days.missing
    reference, n, m = over_days(days.quantiles, there), block.rows - block.missing, harmonic_rows(there)
    with np.errstate(invalid="ignore", divide="ignore"):
        noise = wasserstein_noise(reference, n, m)
    noise = _mended(simulated, series, block.slices, noise, reference, n, wasserstein_noise, simulated_wasserstein_noise)
    noise = np.maximum(noise, _LEAST_CHANGE * np.abs(reference).mean(axis=-1))
    # Of what has always been the same, noise says nothing, and a single row is far: such a number is judged by its tails.
    noise = np.where(reference[..., 0] < reference[..., -1], noise, np.nan)
    distance = wasserstein(block.quantiles, reference)
    spread = over_days(wasserstein(days.quantiles, reference), there)
    kind = "prediction" if series.kind == "probability" else "distribution"
    yield _stream(kind, series, block.slices, distance, noise, _WASSERSTEIN_VARIANCE, True, distance, spread, n)

    edges = over_days(days.range, there)
    hits = np.array([_beyond(x, low, high) for x, (low, high) in zip(block.numbers, edges, strict=True)])
    deviation = stable_rate(hits, n) - stable_rate(2 * TAIL * n, n)
    with np.errstate(invalid="ignore", divide="ignore"):
        noise, rate = np.sqrt(1 / n + 1 / m), hits / n
    yield _stream("tail", series, block.slices, deviation, noise, 1.0, True, rate, np.full(len(n), 2 * TAIL), n)


def _mended(
    simulated: Simulated,
    series: Series,
    slices: tuple[Slice, ...],
    noise: Floats,
    reference: Floats,
    rows: Floats,
    closed_form: Callable[[Floats, Floats, Floats], Floats],
    simulation: Callable[[Floats, int, np.random.Generator], float],
) -> Floats:
    return simulated.mended([(series, s) for s in slices], noise, reference, rows, closed_form, simulation)


def _beyond(numbers: Numbers, low: float, high: float) -> float:
    """Rows beyond both ends; NaN where there are none to compare with."""
    if np.isnan(low):
        return np.nan
    return float(numbers.count[(numbers.high < low) | (numbers.low > high)].sum())


def _of_values(series: Series, block: ValueBlock, earlier: Sequence[Profile], simulated: Simulated) -> Iterator[Measured]:
    days, counts, _ = value_days(series, block, earlier)
    yield _rate("missing", series, block.slices, block.missing, block.rows, days.missing, days.rows)
    yield _rate("unknown", series, block.slices, block.unknown, block.rows, days.unknown, days.rows)

    # A value is new where no earlier day has it in any slice; on an earlier day, where no other day has it. The last column is
    # of values that were not counted each.
    on = (days.counts.sum(axis=1) > 0).sum(axis=0)
    new = np.where(on == 0, counts.sum(axis=0), 0.0) > 0
    new[-1] = False
    once = on == 1
    once[-1] = False
    several = np.where((days.rows > 0).sum(axis=0) > 1, days.rows, 0.0)  # of one day all values are new
    fresh = _rate("new_value", series, block.slices, counts[:, new].sum(-1), block.rows, days.counts[..., once].sum(-1), several)
    yield replace(fresh, rising=np.ones(len(block.slices), dtype=bool))

    total, daily_total = counts.sum(axis=-1), days.counts.sum(axis=-1, keepdims=True)
    n, m = np.minimum(total, block.rows - block.missing), harmonic_rows(np.minimum(days.rows - days.missing, days.counts.sum(-1)))
    with np.errstate(invalid="ignore", divide="ignore"):
        shares, daily = counts / total[:, None], days.counts / daily_total
        apart = total_variation(daily, days.counts.sum(axis=0) / daily_total.sum(axis=0))
        pooled = np.where(usual_days(apart, days.rows)[..., None], days.counts, 0.0).sum(axis=0)
        reference = pooled / pooled.sum(axis=-1, keepdims=True)
        noise = shares_noise(reference, n, m)
        gone = np.where((reference * n[:, None] >= _VANISHED_ROWS) & (counts == 0), reference, 0.0)
        gone = gone[:, :-1].sum(axis=-1)  # an hour with few values counts each, and has no others
        degrees = np.maximum(np.minimum(reference * n[:, None], 1.0).sum(axis=-1) - 1.0, 0.25)
    noise = _mended(simulated, series, block.slices, noise, reference, n, shares_noise, simulated_shares_noise)
    least = np.minimum(_HALF_NORMAL_VARIANCE, 0.5 / degrees)
    distance, size = freeman_tukey(shares, reference), total_variation(shares, reference)
    spread = over_days(total_variation(daily, reference), days.rows)
    kind = "prediction" if series.kind == "probability" else "distribution"
    yield _stream(kind, series, block.slices, distance, noise, least, True, size, spread, n)

    with np.errstate(invalid="ignore", divide="ignore"):
        deviation, noise = stable_rate(gone * n, n) - stable_rate(0.0 * n, n), np.sqrt(1 / n + 1 / m)
    yield _stream("vanished_value", series, block.slices, deviation, noise, 1.0, True, gone, np.zeros(len(n)), n)


def _of_flows(now: Profile, earlier: Sequence[Profile]) -> Iterator[Measured]:
    if not now.flows:
        return
    for rate in RATES:
        slices = tuple(s for s in now.flows if rate.watches(s))
        k, n = (np.array([float(count(now.flows[s])) for s in slices]) for count in (rate.hits, rate.per))
        if n.any():
            days = [[p.flows.get(s, _NOTHING) for s in slices] for p in earlier]
            k_d, n_d = (
                np.array([[float(count(c)) for c in day] for day in days]).reshape(-1, len(slices))
                for count in (rate.hits, rate.per)
            )
            found = _rate("flow", Series(FLOW.kind, rate.name), slices, k, n, k_d, n_d)
            yield replace(found, rising=np.full(len(slices), rate.rising))
    for counter in AMOUNTS:
        yield _amount(Series(FLOW.kind, counter), tuple(now.flows), counter, now, earlier)


def _amount(series: Series, slices: tuple[Slice, ...], counter: str, now: Profile, earlier: Sequence[Profile]) -> Measured:
    """How much of something there is: the log of a count."""
    n = np.array([float(now.flows[s].get(counter, 0)) for s in slices])
    days = np.array([[float(p.flows.get(s, {}).get(counter, 0)) for s in slices] for p in earlier]).reshape(-1, len(slices))
    usual, m = over_days(days, days), harmonic_rows(days)
    expected = over_days(np.log(np.maximum(days, 1.0)), days)
    deviation = np.log(n + 0.5) - expected
    with np.errstate(invalid="ignore", divide="ignore"):
        noise = np.sqrt(1 / usual + 1 / m)
    # An hour in which nothing came is judged, too, if enough used to come.
    return _stream("flow", series, slices, deviation, noise, 1.0, False, n, usual, np.maximum(n, usual))


def _rate(
    kind: str, series: Series, slices: tuple[Slice, ...], hits: Floats, rows: Floats, hits_d: Floats, rows_d: Floats
) -> Measured:
    expected, m = over_days(stable_rate(hits_d, np.maximum(rows_d, 1.0)), rows_d), harmonic_rows(rows_d)
    deviation = stable_rate(hits, rows) - expected
    with np.errstate(invalid="ignore", divide="ignore"):
        noise = np.sqrt(1 / rows + 1 / m)
        usual = over_days(hits_d / rows_d, rows_d)
        return _stream(kind, series, slices, deviation, noise, 1.0, False, hits / rows, usual, rows, FEWEST_OF_A_RATE)


def _stream(
    kind: str,
    series: Series,
    slices: tuple[Slice, ...],
    deviation: Floats,
    noise: Floats,
    least: Floats | float,
    rising: bool,
    size: Floats,
    usual: Floats,
    rows: Floats,
    fewest_rows: int = FEWEST_ROWS,
) -> Measured:
    # A slice by a feature has one value of it.
    judged = np.array([s.by != series.name for s in slices]) & (rows >= fewest_rows) & np.isfinite(noise)
    k = len(slices)
    return Measured(
        [Stream(kind, series, s) for s in slices],
        np.where(judged, deviation, np.nan),
        np.where(judged, noise, 1.0),
        np.where(judged, least, 1.0),
        np.full(k, rising),
        size,
        usual,
        rows,
    )
