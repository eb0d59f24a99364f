"""What each stream usually does, learned as it goes: how far it is off on a normal hour, and how long it stays off.

A market has weather: sales, rain, a campaign of somebody else's. It moves an hour away from the same hours of earlier days by
more than sampling does, and it lasts. Each stream's deviation in units of its usual size, u_t, is taken for

    u_t = mean + w_t + v_t        w_t = PERSISTENCE w_{t-1} + ...,  v_t independent

and what is judged is what the hours before did not say already: u_t less its prediction, in units of how large that usually is.
Hours while a stream is in alarm teach it nothing.

How far out is too far depends on how well that unit is known, and a stream's own few days say little of it: as a Student t with a
degree of freedom a day, nothing is far out for weeks. But its kin know. Of each stream the mean square of its errors in its own
units is kept, S, which is 1 where the unit is right; how much S differs among all streams of a kind says how wrong a unit can be,

    trigamma(d / 2) = var(log S)

and adds d degrees. Source: Smyth (2004), the moderated t of limma, with two changes to be on the safe side: all that S differs by
is taken for true, sampling included, and a stream whose own S is above 1 is judged by its own.
"""

from dataclasses import dataclass, field, fields
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, polygamma, stdtr

from monitoring.detection.distances import Floats
from monitoring.detection.reference import FEWEST_DAYS

PERSISTENCE: Final = 0.93
"""Of weather from hour to hour: half is gone in ten hours."""
MEMORY_HOURS: Final = 24 * 14
LEARNING_HOURS: Final = 24
"""Before, a stream has no opinion."""
EARLIEST_OPINION_HOURS: Final = 24 * FEWEST_DAYS + LEARNING_HOURS
"""Of a market, before any of its streams has one."""
MOST_DEGREES: Final = 30.0
_PRIOR_HOURS: Final = 12.0
"""For which a stream that is new is taken to vary by twice its sampling variance."""
_WINSOR: Final = 3.5


def _zeros() -> Floats:
    return np.zeros(0)


@dataclass(slots=True)
class Weather:
    """The state of K streams; arrays are [K]."""

    hours: Floats = field(default_factory=_zeros)
    """Seen, at most MEMORY_HOURS."""
    excess: Floats = field(default_factory=_zeros)
    """Mean of deviation^2 less sampling variance, in the deviation's unit."""
    mean: Floats = field(default_factory=_zeros)
    variance: Floats = field(default_factory=_zeros)
    cross: Floats = field(default_factory=_zeros)
    """Covariance of u_t and u_{t-1}."""
    before: Floats = field(default_factory=_zeros)
    """u_{t-1}, NaN if that hour was missing."""
    level: Floats = field(default_factory=_zeros)
    """Expected w_t and its variance."""
    doubt: Floats = field(default_factory=_zeros)
    surprise: Floats = field(default_factory=_zeros)
    """S: mean square of the errors of prediction, each in units of its expected size, after the first _PRIOR_HOURS."""

    def grow(self, k: int) -> None:
        """Makes room for k more streams, of which nothing is known."""
        for f in fields(self):
            new = np.full(k, np.nan) if f.name == "before" else np.zeros(k)
            if f.name == "variance":
                new += 1.0
            setattr(self, f.name, np.concatenate([getattr(self, f.name), new]))

    def forget(self, at: NDArray[np.int64]) -> None:
        """Streams `at`, by index, are new again."""
        if len(at):
            fresh = Weather()
            fresh.grow(len(at))
            for f in fields(self):
                getattr(self, f.name)[at] = getattr(fresh, f.name)

    @property
    def size(self) -> int:
        """Number of streams."""
        return len(self.hours)

    def to_arrays(self) -> dict[str, Floats]:
        """The whole state."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Floats]) -> Self:
        """Of what `to_arrays` said."""
        return cls(**{f.name: np.array(arrays[f.name], dtype=np.float64) for f in fields(cls)})

    def judge(self, deviation: Floats, noise: Floats, least: Floats, kin: NDArray[np.int64]) -> Floats:
        """z of each stream's hour, [K]: standard normal if nothing happened; NaN if it is missing or still being learned.

        Args:
          deviation: [K], from the reference; NaN is missing. Of a distance it is the distance.
          noise: [K], its root mean square by sampling alone.
          least: [K], variance of deviation / noise by sampling alone: 1 of what can be negative, less of a distance.
          kin: [K], the same number of streams of one kind.
        """
        u = deviation / self._scale(noise)
        expected, variance = self.mean + PERSISTENCE * self.level, np.maximum(self.variance, least)
        spread = np.sqrt(self._doubt(variance) + variance - self._lasting(variance))
        spread *= np.sqrt(1.0 + 1.0 / np.maximum(self.hours / 24, 1.0))
        t = (u - expected) / (spread * np.sqrt(np.maximum(self.surprise, 1.0)))
        z = _normal(t, np.minimum(1.0 + self.hours / 24 + self._degrees_of_kin(kin), MOST_DEGREES))
        return np.where(self.hours >= LEARNING_HOURS, z, np.nan)

    def learn(self, deviation: Floats, noise: Floats, least: Floats, frozen: NDArray[np.bool_]) -> None:
        """Takes the hour into account, except of streams that are `frozen`, [K]."""
        scale = self._scale(noise)
        variance = np.maximum(self.variance, least)
        lasting, doubt = self._lasting(variance), self._doubt(variance)
        total = doubt + variance - lasting
        expected = self.mean + PERSISTENCE * self.level
        off = deviation / scale - expected
        known = ~np.isnan(off) & ~frozen
        off = np.clip(np.where(known, off, 0.0), -_WINSOR * np.sqrt(total), _WINSOR * np.sqrt(total))
        u = expected + off
        settled = np.where(known & (self.hours >= _PRIOR_HOURS), 1.0 / np.maximum(self.hours - _PRIOR_HOURS + 1.0, 1.0), 0.0)
        self.surprise += settled * (off**2 / total - self.surprise)

        gain = np.where(known, doubt / total, 0.0)
        self.level = PERSISTENCE * self.level + gain * off
        self.doubt = (1.0 - gain) * doubt

        rate = np.where(known, 1.0 / np.minimum(self.hours + _PRIOR_HOURS, MEMORY_HOURS), 0.0)
        self.excess += rate * (np.where(known, (u * scale) ** 2 - noise**2, 0.0) - self.excess)
        follows = known & ~np.isnan(self.before)
        away = np.where(known, u - self.mean, 0.0)
        self.cross += np.where(follows, rate * (away * (np.where(follows, self.before, 0.0) - self.mean) - self.cross), 0.0)
        self.variance += rate * (away**2 - self.variance)
        self.mean += rate * away
        self.hours = np.where(known, np.minimum(self.hours + 1, MEMORY_HOURS), self.hours)
        self.before = np.where(known, u, np.nan)

    def _degrees_of_kin(self, kin: NDArray[np.int64]) -> Floats:
        """Degrees of freedom that the streams of a kind lend each other, [K]: at most one for each."""
        settled = self.hours >= LEARNING_HOURS
        # Streams are taken to be no calmer than expected, since many never move: half of the spread of log S is seen.
        above = np.log(np.maximum(self.surprise, 1.0)) ** 2
        count = np.bincount(kin[settled], minlength=kin.max(initial=0) + 1)
        spread = 2.0 * np.bincount(kin[settled], above[settled], len(count)) / np.maximum(count, 1)
        return np.asarray(np.minimum(2.0 * _trigamma_inverse(spread), np.maximum(count - 1.0, 0.0))[kin])

    def _scale(self, noise: Floats) -> Floats:
        # Of what has always been 0, noise is next to nothing, and its square is nothing.
        return np.asarray(np.hypot(noise, np.sqrt(np.maximum(self.excess, 0.0))))

    def _lasting(self, variance: Floats) -> Floats:
        """The part of the variance that is weather."""
        return np.clip(self.cross / PERSISTENCE, 0.0, 0.95 * variance)

    def _doubt(self, variance: Floats) -> Floats:
        return PERSISTENCE**2 * self.doubt + (1 - PERSISTENCE**2) * self._lasting(variance)


def _normal(t: Floats, degrees: Floats) -> Floats:
    """z with the same tail probability as t, without loss far out."""
    below = t < 0
    z = ndtri(np.maximum(stdtr(degrees, -np.abs(t)), 1e-300))
    return np.where(below, z, -z)


def _trigamma_inverse(y: Floats) -> Floats:
    """x with trigamma(x) = y, by Newton's method on 1 / trigamma, which is convex and nearly linear; y is at least .001."""
    y = np.maximum(y, 1e-3)
    x = 0.5 + 1.0 / y
    for _ in range(8):
        of_x = polygamma(1, x)
        x += of_x * (1.0 - of_x / y) / polygamma(2, x)
    return np.asarray(x)
