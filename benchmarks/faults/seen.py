"""What the monitor sees of an hour of the market: summaries, as of the real log."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.faults.market import CAMPAIGNS, CATEGORIES, NUMBERS, SLICED_BY, SLOTS, VOCABULARY, Floats, Hour, Ints, Market
from monitoring.summaries import ALL, FLOW, Calibration, Flows, HourSummary, NumberColumn, Numbers, Series, Slice, Summary, Values

RELEASE = "release 1"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an hour's shown offers, [R]."""

    pctr: Floats
    """Predicted, by the release as it is."""
    healthy_pctr: Floats
    """Predicted by the release as it should be, from features as they were."""
    seen: np.ndarray
    clicked: np.ndarray
    converted: np.ndarray
    invalid: np.ndarray


class Watcher:
    """Makes summaries of hours that come one after another: labels become final an hour after the decision."""

    def __init__(self, market: Market, slices: tuple[str, ...] = SLICED_BY) -> None:
        self.market, self.slices = market, slices
        self._before: tuple[Hour, Outcome] | None = None

    def copy(self) -> "Watcher":
        """To go on with in another way."""
        twin = Watcher(self.market, self.slices)
        twin._before = self._before
        return twin

    def see(self, hour: Hour) -> tuple[HourSummary, Outcome]:
        """Of this hour, with the labels of the one before."""
        outcome = self.outcome(hour)
        by: dict[tuple[Slice, Series], Summary] = {}
        dimensions = {name: (CATEGORIES[name], hour.code[name]) for name in self.slices}
        for name, column in hour.code.items():
            values = CATEGORIES[name] + hour.extra_values.get(name, ())
            vocabulary = VOCABULARY if name == "brand" else frozenset(CATEGORIES[name])
            for part, summary in _values(values, column, dimensions, vocabulary):
                by[part, Series("feature", name)] = summary
        for name in NUMBERS:
            for part, number in _numbers(hour.number[name], dimensions):
                by[part, Series("feature", name)] = number
        shown = {name: (values, code[hour.page]) for name, (values, code) in dimensions.items()}
        shown["campaign"] = (CAMPAIGNS, hour.campaign)
        for part, summary in _values(CAMPAIGNS, hour.campaign, shown, frozenset(CAMPAIGNS)):
            by[part, Series("feature", "campaign")] = summary
        for part, number in _numbers(np.round(outcome.pctr, 4), shown):
            by[part, Series("probability", "ctr")] = number
        for part, flow in self._flows(hour, outcome, dimensions, shown):
            by[part, FLOW] = flow
        if self._before is not None:
            for part, calibration in _calibrations(*self._before):
                by[part, Series("calibration", "ctr")] = calibration
        self._before = (hour, outcome)
        return HourSummary(hour.hour_ms, RELEASE, by), outcome

    def outcome(self, hour: Hour) -> Outcome:
        """What happens, and what was predicted."""
        healthy = 1 / (1 + np.exp(-self.market.logit(hour, hour.true, vocabulary=False)))
        pctr = 1 / (1 + np.exp(-self.market.logit(hour, hour.number, vocabulary=True) - hour.release_logit))
        robot = hour.robot[hour.page]
        chance = np.where(robot, 0.5, np.minimum(healthy * np.exp(hour.ctr_weather), 1.0))
        seen = hour.luck["beacon"] < hour.beacon
        clicked = seen & (hour.luck["click"] < chance)
        # Honest clicks are marked by mistake in one of two hundred cases, those of robots in seven of ten.
        invalid = clicked & (hour.luck["invalid"] < np.where(robot, 0.7, 0.005))
        converted = clicked & ~robot & (hour.luck["conversion"] < 0.2)
        return Outcome(pctr, healthy, seen, clicked, converted, invalid)

    def _flows(
        self,
        hour: Hour,
        outcome: Outcome,
        dimensions: Mapping[str, tuple[tuple[str, ...], Ints]],
        shown: Mapping[str, tuple[tuple[str, ...], Ints]],
    ) -> Iterator[tuple[Slice, Flows]]:
        arrived = outcome.converted & ~((hour.luck["conversion"] / 0.2) < hour.late)
        paid = np.where(outcome.clicked & ~outcome.invalid, hour.price_micros, 0)
        columns = {
            "filled": np.ones(len(hour.page)),
            "impressions": outcome.seen,
            "clicks": outcome.clicked & ~outcome.invalid,
            "conversions": arrived,
            "invalid:robot": outcome.invalid,
            "charged_micros": paid,
        }
        yield ALL, _flow({"pages": hour.pages, "wanted": SLOTS * hour.pages, **{n: int(c.sum()) for n, c in columns.items()}})
        for name, (values, code) in shown.items():
            sums = {n: np.bincount(code, c, len(values)) for n, c in columns.items()}
            if name in dimensions:
                sums["pages"] = np.bincount(dimensions[name][1], minlength=len(values))
                sums["wanted"] = SLOTS * sums["pages"]
            for i, value in enumerate(values):
                yield Slice(name, value), _flow({n: int(s[i]) for n, s in sums.items()})


def _flow(counts: dict[str, int]) -> Flows:
    return Flows(counts)


def _values(
    values: tuple[str, ...], column: Ints, dimensions: Mapping[str, tuple[tuple[str, ...], Ints]], vocabulary: frozenset[str]
) -> Iterator[tuple[Slice, Values]]:
    v = len(values)
    yield ALL, _value(values, np.bincount(column, minlength=v), vocabulary)
    for name, (groups, code) in dimensions.items():
        table = np.bincount(code * v + column, minlength=len(groups) * v).reshape(len(groups), v)
        for group, counts in zip(groups, table, strict=True):
            if counts.any():
                yield Slice(name, group), _value(values, counts, vocabulary)


def _value(values: tuple[str, ...], counts: Ints, vocabulary: frozenset[str]) -> Values:
    there = np.flatnonzero(counts)
    return Values.of({values[i]: int(counts[i]) for i in there}, int(counts.sum()), 0, vocabulary)


def _numbers(x: Floats, dimensions: Mapping[str, tuple[tuple[str, ...], Ints]]) -> Iterator[tuple[Slice, Numbers]]:
    column = NumberColumn.of_rows(x)
    for _, numbers in column.by_group(np.zeros(len(x), np.int64), 1):
        yield ALL, numbers
    for name, (groups, code) in dimensions.items():
        for i, numbers in column.by_group(code, len(groups)):
            yield Slice(name, groups[i]), numbers


def _calibrations(hour: Hour, outcome: Outcome) -> Iterator[tuple[Slice, Calibration]]:
    """Of what was seen and is not marked."""
    kept = outcome.seen & ~outcome.invalid
    p, y, price = outcome.pctr[kept], outcome.clicked[kept], hour.price_micros[kept]
    yield ALL, Calibration.of(p, y, price)
    page = hour.page[kept]
    groups = {"campaign": (CAMPAIGNS, hour.campaign[kept])}
    groups |= {name: (CATEGORIES[name], hour.code[name][page]) for name in ("placement", "country", "app_version")}
    for name, (values, code) in groups.items():
        for i, value in enumerate(values):
            at = code == i
            if not at.any():
                continue
            yield Slice(name, value), Calibration.of(p[at], y[at], price[at])
