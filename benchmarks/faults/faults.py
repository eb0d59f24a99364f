"""Twelve ways to break the market, each in three sizes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.faults.market import CAMPAIGNS, CATEGORIES, Hour
from monitoring.summaries import ALL, Slice

Bools = np.ndarray
SIZES: Final = ("large", "middle", "small")
_VERSION = Slice("app_version", "7.3")
_COUNTRY = Slice("country", "NL")
_PLACEMENT = Slice("placement", "receipt")
_CAMPAIGN = Slice("campaign", CAMPAIGNS[3])


@dataclass(frozen=True, slots=True)
class Fault:
    """What breaks, how much of it by size, and what is right to name."""

    name: str
    amounts: tuple[float, float, float]
    """By size, in the unit that `happen` takes."""
    said: str
    """What the amount is."""
    features: frozenset[str]
    """Series that are right to be named: a feature, a task, or a flow."""
    slices: frozenset[Slice]
    happen: Callable[[Hour, float, int, np.random.Generator], None]
    """Breaks an hour in place: hour, amount, hours since it began, random numbers."""

    def amount(self, size: str) -> float:
        """In the unit that `said` says."""
        return self.amounts[SIZES.index(size)]


def _some(hour: Hour, where: Bools, share: float, rng: np.random.Generator) -> Bools:
    return np.asarray(where & (rng.random(hour.pages) < share))


def _in(hour: Hour, part: Slice) -> Bools:
    return np.asarray(hour.code[part.by] == CATEGORIES[part.by].index(part.value))


def _missing_in_version(hour: Hour, share: float, _: int, rng: np.random.Generator) -> None:
    hour.number["amount"][_some(hour, _in(hour, _VERSION), share, rng)] = np.nan


def _cents_for_euros(hour: Hour, share: float, _: int, rng: np.random.Generator) -> None:
    hour.number["amount"][_some(hour, _in(hour, _COUNTRY), share, rng)] *= 100


def _new_category(hour: Hour, share: float, _: int, rng: np.random.Generator) -> None:
    hour.extra_values["payment"] = ("wallet",)
    hour.code["payment"][rng.random(hour.pages) < share] = len(CATEGORIES["payment"])


def _swapped_columns(hour: Hour, share: float, _: int, rng: np.random.Generator) -> None:
    at = _some(hour, _in(hour, _VERSION), share, rng)
    items, clicks = hour.number["items"], hour.number["clicks_7d"]
    items[at], clicks[at] = clicks[at].copy(), items[at].copy()


def _stale_history(hour: Hour, days: float, since: int, rng: np.random.Generator) -> None:
    # The store has stopped taking updates: what it says is `days` old and gets older; the clicks since then are not in it.
    old = days + since / 24
    hour.number["days_since_visit"] += np.round(old, 2)
    forgotten = rng.binomial(hour.number["clicks_7d"].astype(np.int64), min(old / 7, 1.0))
    hour.number["clicks_7d"] -= forgotten


def _frozen_vocabulary(hour: Hour, share: float, _: int, rng: np.random.Generator) -> None:
    # New brands that the release does not know, ever more of them.
    at = rng.random(hour.pages) < share
    hour.code["brand"][at] = rng.integers(285, 300, int(at.sum()))


def _shifted_mix(hour: Hour, share: float, _: int, rng: np.random.Generator) -> None:
    hour.code["country"][rng.random(hour.pages) < share] = CATEGORIES["country"].index("PL")


def _bots(hour: Hour, share: float, _: int, rng: np.random.Generator) -> None:
    """`share` of a device's pages are asked for by robots, that click half of what they are shown."""
    hour.robot |= _some(hour, _in(hour, Slice("device", "desktop")), share, rng)


def _lost_beacons(hour: Hour, share: float, _: int, __: np.random.Generator) -> None:
    hour.beacon[_in(hour, _PLACEMENT)[hour.page]] *= 1 - share


def _late_conversions(hour: Hour, share: float, _: int, __: np.random.Generator) -> None:
    hour.late = share


def _overconfident_for_one(hour: Hour, factor: float, _: int, __: np.random.Generator) -> None:
    hour.release_logit[hour.campaign == CAMPAIGNS.index(_CAMPAIGN.value)] += np.log(factor)


def _other_calibrator(hour: Hour, factor: float, _: int, __: np.random.Generator) -> None:
    hour.release_logit += np.log(factor)


def _fault(
    happen: Callable[[Hour, float, int, np.random.Generator], None],
    amounts: tuple[float, float, float],
    said: str,
    features: tuple[str, ...],
    *slices: Slice,
) -> Fault:
    return Fault(happen.__name__.strip("_").replace("_", "-"), amounts, said, frozenset(features), frozenset(slices), happen)


FAULTS: Final[Mapping[str, Fault]] = {
    f.name: f
    for f in (
        _fault(_missing_in_version, (1.0, 0.15, 0.03), "of the version's pages", ("amount",), _VERSION),
        _fault(_cents_for_euros, (1.0, 0.15, 0.03), "of the country's pages", ("amount",), _COUNTRY),
        _fault(_new_category, (0.15, 0.03, 0.005), "of all pages", ("payment",), ALL),
        _fault(_swapped_columns, (1.0, 0.3, 0.1), "of the version's pages", ("items", "clicks_7d"), _VERSION),
        _fault(_stale_history, (4.0, 1.0, 0.25), "days old", ("days_since_visit", "clicks_7d"), ALL),
        _fault(_frozen_vocabulary, (0.15, 0.03, 0.005), "of all pages", ("brand",), ALL),
        _fault(_shifted_mix, (0.25, 0.08, 0.02), "of all pages", ("country",), ALL),
        _fault(_bots, (0.3, 0.05, 0.01), "of a device's pages", ("invalid_events",), Slice("device", "desktop")),
        _fault(_lost_beacons, (0.8, 0.15, 0.04), "of a placement's beacons", ("impressions_per_filled_slot",), _PLACEMENT),
        _fault(_late_conversions, (0.95, 0.6, 0.2), "of conversions", ("conversions_per_click",), ALL),
        _fault(_overconfident_for_one, (4.0, 1.6, 1.2), "times the odds", ("ctr",), _CAMPAIGN),
        _fault(_other_calibrator, (2.5, 1.3, 1.08), "times the odds", ("ctr",), ALL),
    )
}
