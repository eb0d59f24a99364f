"""The sequential tests of one market: an hour in, what has crossed out. The state is small and can be put away at any hour."""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from domain.errors import ContractError
from monitoring.detection.betting import TILTS, mixed
from monitoring.detection.calibrated import BETTING, measure_calibration
from monitoring.detection.distances import Floats
from monitoring.detection.evidence import BETS, advance, combined, e_bh, log_e_values, threshold
from monitoring.detection.finding import Finding
from monitoring.detection.findings import Judged, told
from monitoring.detection.measures import Stream, joined, measure
from monitoring.detection.nulls import Simulated
from monitoring.detection.profile import Profile
from monitoring.detection.reference import DAY_MS
from monitoring.detection.weather import MEMORY_HOURS, Weather
from monitoring.summaries import ALL, Series, Slice

_QUIET_Z: Final = 2.0
_QUIET_HOURS: Final = 3
"""An alarm is over when its stream was within _QUIET_Z of its usual for so many hours running."""
_NEW_USUAL_HOURS: Final = 24 * 7
"""What has been so for as long is the new usual: the alarm is over, and the stream learned anew."""
_NEVER: Final = -1
_NAMED: Final = 5
_LONGEST_NAME: Final = 60


@dataclass(slots=True)
class Detector:
    """All streams of a market. Arrays are [K]; of [K, 2] rises come first, falls second."""

    day_ms: int = DAY_MS
    at_ms: int = _NEVER
    """The hour that was judged last."""
    streams: dict[Stream, int] = field(default_factory=dict)
    weather: Weather = field(default_factory=Weather)
    log_m: Floats = field(default_factory=lambda: np.zeros((0, 2, len(BETS))))
    """[K, 2, bets]"""
    rising: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    seen_ms: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    wealth: Floats = field(default_factory=lambda: np.zeros((0, *TILTS.shape)))
    """[K, 2, bets] log of what the bets against a release's probabilities have made of 1; of streams that bet."""
    release: str = ""
    """Whose probabilities they are against, and for how many hours."""
    betting_hours: int = 0
    climb: Floats = field(default_factory=lambda: np.zeros((0, 2)))
    """[K, 2] log evidence since it began to rise."""
    began_ms: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int64))
    opened_ms: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """When the alarm crossed, -1 where there is none."""
    fell: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Direction of the alarm: 0 a rise, 1 a fall."""
    quiet: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Hours that the alarm's stream has been as usual."""
    simulated: Simulated = field(default_factory=Simulated)

    @property
    def hour_ms(self) -> int:
        """Length of an hour."""
        return self.day_ms // 24

    def step(self, now: Profile, earlier: Sequence[Profile]) -> list[Finding]:
        """Judges an hour; what is most to blame comes first.

        An hour that comes before one that was judged, or is that one, says nothing, so that a clock that jumped back is not
        believed twice. Missing hours are skipped.

        Args:
          earlier: the hours that `earlier_hours` names, as far as they are there.
        """
        if now.hour_ms <= self.at_ms:
            return []
        if self.at_ms != _NEVER and now.hour_ms > self.at_ms + self.hour_ms:
            self.weather.before[:] = np.nan
        self.at_ms = now.hour_ms
        calibration, bets = measure_calibration(now)
        measured = joined([measure(now, earlier, self.simulated), calibration])
        at = self._places(measured.streams, measured.rising)
        deviation, noise, least = (
            _spread(part, at, len(self.streams), fill)
            for part, fill in ((measured.deviation, np.nan), (measured.noise, 1.0), (measured.least, 1.0))
        )
        kin = np.unique([s.kind for s in self.streams], return_inverse=True)[1]
        z = self.weather.judge(deviation, noise, least, kin)[at]
        log_e = np.stack([log_e_values(z), log_e_values(-z)], axis=1)
        log_e[len(at) - len(bets) :] += bets
        self._bet(now.release, at[len(at) - len(bets) :], bets)
        # Bets have no z; one that gives the same evidence stands for it.
        gain = np.maximum(combined(log_e), 0.0)
        signed = np.where(gain[:, 0] >= gain[:, 1], 1, -1) * np.sqrt(2 * gain.max(axis=1, initial=0.0))
        z = np.where(np.isnan(z) & (gain.max(axis=1, initial=0.0) > 0), signed, z)

        self._advance(log_e, at)
        over = self._over()
        self._open(over)
        self._close(z, at)
        self.weather.learn(deviation, noise, least, frozen=self.opened_ms != _NEVER)
        judged = Judged(z, over[at], self.opened_ms[at], self.began_ms[at], self.fell[at], self.quiet[at])
        return self._with_surely_off(told(now, earlier, measured, judged, self.hour_ms))

    def _places(self, streams: list[Stream], rising: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Index of each stream in the state, which makes room for new ones and forgets those that are no more."""
        if self.at_ms % self.day_ms == 0:
            self._forget()
        new = [i for i, s in enumerate(streams) if s not in self.streams]
        for i in new:
            self.streams[streams[i]] = len(self.streams)
        k = len(new)
        self.weather.grow(k)
        self.log_m = np.concatenate([self.log_m, np.full((k, *self.log_m.shape[1:]), -np.inf)])
        self.rising = np.concatenate([self.rising, rising[new]])
        self.seen_ms = np.concatenate([self.seen_ms, np.zeros(k, dtype=np.int64)])
        self.wealth = np.concatenate([self.wealth, np.full((k, *self.wealth.shape[1:]), -np.inf)])
        self.climb = np.concatenate([self.climb, np.zeros((k, 2))])
        self.began_ms = np.concatenate([self.began_ms, np.full((k, 2), self.at_ms)])
        self.opened_ms = np.concatenate([self.opened_ms, np.full(k, _NEVER)])
        self.fell, self.quiet = (np.concatenate([a, np.zeros(k, dtype=np.int64)]) for a in (self.fell, self.quiet))
        at = np.array([self.streams[s] for s in streams], dtype=np.int64)
        self.seen_ms[at] = self.at_ms
        return at

    def _forget(self) -> None:
        kept = self.seen_ms >= self.at_ms - MEMORY_HOURS * self.hour_ms
        if not kept.all():
            self._keep(np.flatnonzero(kept))

    def _keep(self, at: NDArray[np.int64]) -> None:
        names = list(self.streams)
        self.streams = {names[i]: j for j, i in enumerate(at.tolist())}
        self.weather = Weather.from_arrays({name: a[at] for name, a in self.weather.to_arrays().items()})
        for name in _ARRAYS:
            setattr(self, name, getattr(self, name)[at])

    def _advance(self, log_e: Floats, at: NDArray[np.int64]) -> None:
        # When the evidence began to rise is where its cumulated sum last left 0: log_m itself wanders on normal hours.
        self.began_ms[at] = np.where(self.climb[at] <= 0.0, self.at_ms, self.began_ms[at])
        self.climb[at] = np.maximum(self.climb[at] + combined(log_e), 0.0)
        self.log_m[at] = advance(self.log_m[at], log_e)

    def _over(self) -> Floats:
        """Log of each detector over its threshold, [K, 2].

        Half of the promise goes to all traffic, where most faults show, half to all slices; each half evenly to its streams, and
        a stream's part to its rise and its fall.
        """
        whole = np.array([s.slice == ALL for s in self.streams], dtype=bool)
        sides = np.stack([np.where(self.rising, 1.0, 0.5), np.where(self.rising, 0.0, 0.5)], axis=1)
        part = 0.5 / np.maximum(np.where(whole, whole.sum(), (~whole).sum()), 1)
        return np.asarray(combined(self.log_m) - threshold(part[:, None] * sides))

    def _open(self, over: Floats) -> None:
        crossed = (over.max(axis=1, initial=-np.inf) >= 0.0) & (self.opened_ms == _NEVER)
        self.opened_ms[crossed] = self.at_ms
        self.fell[crossed] = over[crossed].argmax(axis=1)
        self.quiet[crossed] = 0

    def _close(self, z: Floats, at: NDArray[np.int64]) -> None:
        open_ = self.opened_ms[at] != _NEVER
        calm = open_ & ~(np.where(self.fell[at] == 1, -z, z) >= _QUIET_Z)
        self.quiet[at] = np.where(calm, self.quiet[at] + 1, 0)
        over = at[open_ & (self.quiet[at] >= _QUIET_HOURS)]
        stale = np.flatnonzero((self.opened_ms != _NEVER) & (self.at_ms - self.opened_ms >= _NEW_USUAL_HOURS * self.hour_ms))
        for closed in (over, stale):
            self.opened_ms[closed] = _NEVER
            self.log_m[closed] = -np.inf
            self.climb[closed] = 0.0
        self.weather.forget(stale)

    def _bet(self, release: str, at: NDArray[np.int64], bets: Floats) -> None:
        if release and release != self.release:
            self.release, self.betting_hours = release, 0
            self.wealth[:] = -np.inf
        # The stake is spread over the hours at which one may begin to bet, 1 / (n (n + 1)) to the n-th.
        self.betting_hours += 1
        stake = -np.log(self.betting_hours * (self.betting_hours + 1.0))
        self.wealth[at] = np.logaddexp(self.wealth[at], stake) + bets

    def _with_surely_off(self, found: list[Finding]) -> list[Finding]:
        """What is told of calibration says which slices are off for certain: the one that is named may only be the smallest."""
        if not any(f.kind == "calibration" for f in found):
            return found
        off = self.miscalibrated()
        return [replace(f, detail=dict(f.detail) | _surely_off(f.series, off)) if f.kind == "calibration" else f for f in found]

    def miscalibrated(self, rate: float = 0.05) -> list[tuple[Stream, float]]:
        """Slices whose outcomes are not what the release says, and the log of what a bet on that has made of 1, most first.

        Of those that are named a share of `rate` is right after all, on average: by e-BH over the values of a slice, as over all
        campaigns. It may be asked at any hour, and as often as one likes.
        """
        groups: dict[tuple[Series, str], list[Stream]] = {}
        for stream in self.streams:
            if stream.kind == BETTING:
                groups.setdefault((stream.series, stream.slice.by), []).append(stream)
        found = []
        for members in groups.values():
            log_e = mixed(self.wealth[[self.streams[s] for s in members]])
            found += [(members[i], float(log_e[i])) for i in np.flatnonzero(e_bh(log_e, rate))]
        return sorted(found, key=lambda one: -one[1])

    def to_bytes(self) -> bytes:
        """The whole state; `from_bytes` goes on as if nothing had happened."""
        names = np.array([[s.kind, *s.series, *s.slice] for s in self.streams], dtype=np.str_).reshape(-1, 5)
        arrays: dict[str, Any] = {f"weather.{name}": a for name, a in self.weather.to_arrays().items()}
        arrays |= {f"simulated.{name}": a for name, a in self.simulated.to_arrays().items()}
        arrays |= {name: getattr(self, name) for name in _ARRAYS}
        out = io.BytesIO()
        np.savez_compressed(
            out,
            streams=names,
            clock=np.array([self.day_ms, self.at_ms, self.betting_hours]),
            release=np.array(self.release),
            **arrays,
        )
        return out.getvalue()

    @classmethod
    def from_bytes(cls, state: bytes) -> Self:
        """Of what `to_bytes` said.

        Raises:
          ContractError: it is damaged, or of another version.
        """
        try:
            with np.load(io.BytesIO(state), allow_pickle=False) as kept:
                arrays = {name: kept[name] for name in kept.files}
            names = [Stream(kind, Series(a, b), Slice(c, d)) for kind, a, b, c, d in arrays["streams"].tolist()]
            weather = Weather.from_arrays({f.name: arrays[f"weather.{f.name}"] for f in fields(Weather)})
            of_simulated = {name: arrays[f"simulated.{name}"] for name in ("places", "place", "rows", "ratio")}
            day_ms, at_ms, betting_hours = arrays["clock"].tolist()
            streams = {s: i for i, s in enumerate(names)}
            kept_arrays = {name: arrays[name] for name in _ARRAYS}
            bets = {"release": str(arrays["release"]), "betting_hours": betting_hours}
            return cls(day_ms, at_ms, streams, weather, **bets, **kept_arrays, simulated=Simulated.from_arrays(of_simulated))
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as e:
            raise ContractError(f"state of the detector: expected one that it wrote, got {len(state)} bytes: {e}") from None


_ARRAYS: Final = ("log_m", "wealth", "climb", "rising", "seen_ms", "began_ms", "opened_ms", "fell", "quiet")


def _surely_off(series: Series, off: Sequence[tuple[Stream, float]]) -> dict[str, float | str]:
    """The surest first; nothing where the bets have not won enough yet."""
    names = [
        f"{s.slice.by} {s.slice.value[:_LONGEST_NAME]}" if s.slice.by else "all traffic" for s, _ in off if s.series == series
    ]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return {"surely_off": ", ".join(names[:_NAMED]) + more} if names else {}


def _spread(part: Floats, at: NDArray[np.int64], size: int, fill: float) -> Floats:
    whole = np.full(size, fill)
    whole[at] = part
    return whole
