"""A market of simulated hours: a daily cycle, weekends, and weather that stays for hours, in all it does.

Truth and model are the same logits; the model reads the features as they arrive, what happens follows what they really were.
Every hour has its own random numbers, by seed and hour, so that a broken hour differs from the healthy one by its fault alone.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HOUR_MS: Final = 3_600_000
START_MS: Final = 1_767_571_200_000  # Monday 5 January 2026, 00:00 UTC
SLOTS: Final = 2
CATEGORIES: Final[dict[str, tuple[str, ...]]] = {
    "country": ("DE", "FR", "NL", "ES", "PL", "AT"),
    "device": ("phone", "desktop", "tablet"),
    "app_version": ("7.4", "7.3", "7.2", "6.9", "web"),
    "placement": ("confirmation", "receipt", "account"),
    "payment": ("card", "paypal", "invoice", "debit"),
    "category": tuple(f"category {i:02}" for i in range(30)),
    "brand": tuple(f"brand {i:03}" for i in range(300)),
}
VOCABULARY: Final = frozenset(CATEGORIES["brand"][:285])
"""Of brands; the last fifteen are new ones that the release does not know."""
SLICED_BY: Final = ("country", "device", "app_version", "placement")
NUMBERS: Final = ("amount", "items", "account_days", "clicks_7d", "days_since_visit")
CAMPAIGNS: Final = tuple(f"campaign {i:02}" for i in range(20))
_PEAK_H, _TROUGH_SHARE = 15.0, 0.22


@dataclass(slots=True)
class Hour:
    """What happened in one hour, and what was seen of it. Page columns are [P], those of shown offers [R]."""

    index: int
    code: dict[str, Ints]
    """Category -> [P] code; a code past the end is a value nobody knew."""
    number: dict[str, Floats]
    """Feature -> [P], NaN where missing, as it arrives."""
    true: dict[str, Floats]
    """As it was."""
    page: Ints
    """[R] index of each shown offer's page."""
    campaign: Ints
    price_micros: Ints
    """[R] for a click."""
    ctr_weather: float
    luck: dict[str, Floats]
    """[R] uniform numbers that decide what happens."""
    beacon: Floats
    """[R] chance that its beacon arrives."""
    release_logit: Floats
    """[R] what the release adds to its prediction, by mistake."""
    late: float = 0.0
    """Share of conversions that arrive a day later than usual."""
    robot: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    """[P] pages that robots ask for."""
    extra_values: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def pages(self) -> int:
        return len(self.code["country"])

    @property
    def hour_ms(self) -> int:
        return START_MS + self.index * HOUR_MS


class Market:
    """Draws hours. All of it follows from the seed."""

    def __init__(self, seed: int, pages_per_hour: int = 1200) -> None:
        self.seed, self.pages_per_hour = seed, pages_per_hour
        rng = np.random.default_rng([seed, 0])
        self.popularity = {name: _popularity(len(values), rng) for name, values in CATEGORIES.items()}
        self.popularity["brand"][-15:] -= 1.0
        self.cycle = {name: rng.normal(0, 0.15, len(values)) for name, values in CATEGORIES.items()}
        self.weekend = {name: rng.normal(0, 0.15, len(values)) for name, values in CATEGORIES.items()}
        self.campaigns = _popularity(len(CAMPAIGNS), rng)
        self.price_micros = rng.integers(200_000, 1_200_000, len(CAMPAIGNS))
        self.effect = {name: rng.normal(0, 0.2, len(values) + 1) for name, values in CATEGORIES.items()}
        self.campaign_effect = rng.normal(0, 0.4, len(CAMPAIGNS))
        self.amount_of = rng.normal(0, 0.3, len(CATEGORIES["category"]))
        self._weather = _Weather(seed)

    def hour(self, index: int) -> Hour:
        """A healthy hour, by its number since the start, a Monday at midnight."""
        rng = np.random.default_rng([self.seed, 1, index])
        weather = self._weather.at(index)
        of_day, weekend = index % 24, index // 24 % 7 >= 5
        daylight = _TROUGH_SHARE + (1 - _TROUGH_SHARE) * (0.5 + 0.5 * np.cos((of_day - _PEAK_H) / 24 * 2 * np.pi))
        volume = self.pages_per_hour * 1.6 * daylight * (0.75 if weekend else 1.0) * np.exp(0.10 * weather["pages"])
        pages = max(int(rng.poisson(volume)), 1)
        code = {}
        for name, values in CATEGORIES.items():
            logits = self.popularity[name] + self.cycle[name] * np.sin(of_day / 24 * 2 * np.pi) + self.weekend[name] * weekend
            code[name] = _drawn(logits + 0.06 * weather[name][: len(values)], pages, rng)
        true = {
            "amount": np.exp(3.6 + self.amount_of[code["category"]] + 0.7 * rng.normal(size=pages) + 0.04 * weather["amount"]),
            "items": 1.0 + rng.poisson(1.5 * np.exp(0.03 * weather["items"]), pages),
            "account_days": rng.exponential(400, pages),
            "clicks_7d": rng.poisson(rng.gamma(1.0, 0.8 * np.exp(0.04 * weather["clicks"]), pages)).astype(np.float64),
            "days_since_visit": rng.exponential(6 * np.exp(0.03 * weather["visits"]), pages),
        }
        true = {name: np.round(x, 2) for name, x in true.items()}
        true["amount"][rng.random(pages) < 0.01] = np.nan
        page = np.repeat(np.arange(pages), rng.binomial(SLOTS, 0.95, pages))
        campaign = _drawn(self.campaigns + 0.08 * weather["campaign"][: len(CAMPAIGNS)], len(page), rng)
        return Hour(
            index=index,
            code=code,
            number={name: x.copy() for name, x in true.items()},
            true=true,
            page=page,
            campaign=campaign,
            price_micros=self.price_micros[campaign],
            ctr_weather=0.05 * float(weather["ctr"]),
            luck={name: rng.random(len(page)) for name in ("beacon", "click", "conversion", "invalid")},
            beacon=np.full(len(page), 1 / (1 + np.exp(-2.6 - 0.05 * weather["beacon"]))),
            release_logit=np.zeros(len(page)),
            robot=np.zeros(pages, dtype=bool),
        )

    def logit(self, hour: Hour, number: dict[str, Floats], vocabulary: bool) -> Floats:
        """[R] of a click, from features as they arrived or as they were; with the release's vocabulary, or knowing all brands."""
        amount = np.log1p(np.nan_to_num(np.clip(number["amount"], 0, 1e7)))
        x = (
            -2.9
            + 0.35 * (amount - 3.6)
            + 0.18 * np.minimum(np.nan_to_num(number["clicks_7d"]), 8)
            - 0.03 * np.minimum(np.nan_to_num(number["days_since_visit"]), 30)
            + 0.05 * np.nan_to_num(number["items"])
        )
        for name, effect in self.effect.items():
            of = effect[np.minimum(hour.code[name], len(effect) - 1)]
            x = x + (np.where(hour.code[name] < len(VOCABULARY), of, 0.0) if vocabulary and name == "brand" else of)
        return np.asarray(x[hour.page] + self.campaign_effect[hour.campaign])


class _Weather:
    """Autoregressive, by the hour, half of it gone in nine: the same whatever hour is asked for first."""

    NAMES: Final = ("pages", "amount", "items", "clicks", "visits", "ctr", "beacon")

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng([seed, 2])
        self._widths = {**{n: len(v) for n, v in CATEGORIES.items()}, "campaign": len(CAMPAIGNS), **dict.fromkeys(self.NAMES, 1)}
        self._path = [self._rng.normal(size=sum(self._widths.values()))]

    def at(self, index: int) -> dict[str, Floats]:
        while len(self._path) <= index:
            before = self._path[-1]
            self._path.append(0.925 * before + np.sqrt(1 - 0.925**2) * self._rng.normal(size=len(before)))
        parts = np.split(self._path[index], np.cumsum(list(self._widths.values()))[:-1])
        return {name: part if len(part) > 1 else part[0] for name, part in zip(self._widths, parts, strict=True)}


def _popularity(n: int, rng: np.random.Generator) -> Floats:
    return np.asarray(-0.6 * np.log(np.arange(1, n + 1)) + 0.1 * rng.normal(size=n))


def _drawn(logits: Floats, n: int, rng: np.random.Generator) -> Ints:
    chance = np.exp(logits - logits.max())
    return np.asarray(np.searchsorted(np.cumsum(chance / chance.sum())[:-1], rng.random(n), side="right"))
