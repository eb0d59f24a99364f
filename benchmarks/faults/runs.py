"""One seed's market: its healthy weeks, and each fault from an hour of its own, watched by all detectors at once."""

import copy
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from benchmarks.faults.baselines import RULES
from benchmarks.faults.faults import FAULTS, Fault
from benchmarks.faults.market import HOUR_MS, SLICED_BY, Hour, Market
from benchmarks.faults.seen import Outcome, Watcher
from monitoring.detection.detector import Detector
from monitoring.detection.finding import Finding
from monitoring.detection.profile import Profile, profile
from monitoring.detection.reference import DAYS, earlier_hours
from monitoring.summaries import ALL, Slice

OURS: Final = "offerrank"
HISTORY_H: Final = 24 * 14
FAULTY_WEEK_H: Final = 24 * 7
CLEAN_WEEKS: Final = 4
PATIENCE_H: Final = 24
"""A fault that is not found by then is missed."""

_FORGETFUL: Final = ("tfdv", "evidently")
"""Baselines that know nothing of the hours before, so that they need not see them."""

Alarm = tuple[str, Slice]
"""Series and slice."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What each detector said in each of some hours: alarms, the first one first, and its score over its threshold."""

    alarms: dict[str, list[list[Alarm]]] = field(default_factory=dict)
    scores: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    """Of baselines, by series."""
    lost_micros: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class FaultRun:
    """One fault of one size from one hour on."""

    fault: str
    size: str
    seed: int
    before: Watched
    """The hours just before."""
    after: Watched


class Stage:
    """The market, and all who watch it, at some hour."""

    def __init__(self, seed: int, pages_per_hour: int, slices: tuple[str, ...], baselines: bool = True) -> None:
        self.market = Market(seed, pages_per_hour)
        self.watcher = Watcher(self.market, slices)
        self.detector = Detector()
        self.rules = {name: make() for name, make in RULES.items()} if baselines else {}
        self.profiles: dict[int, Profile] = {}
        self.index = 0

    def copy(self) -> "Stage":
        """To go on with in another way. Our detector's copy goes through its bytes: a restart, at every fault."""
        twin = copy.copy(self)
        twin.watcher, twin.detector = self.watcher.copy(), Detector.from_bytes(self.detector.to_bytes())
        twin.detector.simulated = self.detector.simulated
        twin.rules = {name: rule.copy() if hasattr(rule, "copy") else rule for name, rule in self.rules.items()}
        twin.profiles = dict(self.profiles)
        return twin

    def next(self, told: Watched, broken: Callable[[Hour], None] | None = None, skip: Iterable[str] = ()) -> list[Finding]:
        """One hour more, added to what was told before. `skip`: detectors that need not look."""
        skipped = set(skip)
        hour = self.market.hour(self.index)
        if broken is not None:
            broken(hour)
        self.index += 1
        summary, outcome = self.watcher.see(hour)
        now = self.profiles[hour.hour_ms] = profile([summary])
        self.profiles.pop(hour.hour_ms - (DAYS * 24 + 1) * HOUR_MS, None)
        earlier = [self.profiles[at] for at in earlier_hours(hour.hour_ms) if at in self.profiles]
        findings = [] if OURS in skipped else self.detector.step(now, earlier)
        told.alarms.setdefault(OURS, []).append([(f.series.name, f.slice) for f in findings])
        for name, rule in self.rules.items():
            scores = {} if name in skipped or not earlier else rule(now, earlier)
            told.scores.setdefault(name, []).append(scores)
            told.alarms.setdefault(name, []).append(alarms_of(scores, 1.0))
        told.lost_micros.append(lost_micros(hour, outcome))
        return findings


def alarms_of(scores: dict[str, float], threshold: float) -> list[Alarm]:
    """Series at or over the threshold, the highest first; in all traffic, since baselines do not look into slices."""
    over = [name for name, score in scores.items() if score >= threshold]
    return [(name, ALL) for name in sorted(over, key=lambda name: -scores[name])]


def lost_micros(hour: Hour, outcome: Outcome) -> float:
    """What an hour's fault costs: mispriced shown offers, beacons and conversions lost, and what robots were charged for."""
    price = hour.price_micros.astype(np.float64)
    robot = hour.robot[hour.page]
    honest = np.where(robot, 0.0, outcome.healthy_pctr)
    mispriced = np.where(robot, 0.0, np.abs(outcome.pctr - outcome.healthy_pctr)) * price
    beacons = np.clip(0.93 - hour.beacon, 0.0, 1.0) * honest * price if hour.beacon.min() < 0.9 else np.zeros(len(price))
    late = outcome.converted * price * hour.late
    charged = np.where(robot & outcome.clicked & ~outcome.invalid, price, 0.0)
    return float((mispriced + beacons + late + charged).sum())


def onset(seed: int, fault: str, history_h: int = HISTORY_H, within_h: int = FAULTY_WEEK_H) -> int:
    """Hour after the history in which a fault begins: any, day or night."""
    return history_h + int(np.random.default_rng([seed, 3, sorted(FAULTS).index(fault)]).integers(6, within_h))


def healthy_and_broken(
    seed: int,
    faults: Iterable[Fault],
    sizes: Iterable[str],
    clean_h: int,
    pages_per_hour: int = 1200,
    history_h: int = HISTORY_H,
    within_h: int = FAULTY_WEEK_H,
    patience_h: int = PATIENCE_H,
    slices: tuple[str, ...] = SLICED_BY,
    baselines: bool = True,
) -> Iterator[Watched | FaultRun]:
    """The faults' runs, each as it is done, and then the healthy hours after the history, if any were asked for."""
    stage, sizes = Stage(seed, pages_per_hour, slices, baselines), list(sizes)
    begins: dict[int, list[Fault]] = {}
    for fault in faults:
        begins.setdefault(onset(seed, fault.name, history_h, within_h), []).append(fault)
    history, clean = Watched(), Watched()
    end = max([history_h + clean_h if clean_h else 0, *(at + 1 for at in begins)])
    while stage.index < end:
        for fault in begins.get(stage.index, []):
            for size in sizes:
                yield _run(stage.copy(), fault, size, seed, clean if stage.index > history_h else history, patience_h)
        healthy = stage.index >= history_h
        stage.next(clean if healthy else history, skip=() if healthy else _FORGETFUL)
    if clean_h:
        yield clean


def _run(stage: Stage, fault: Fault, size: str, seed: int, before: Watched, patience_h: int) -> FaultRun:
    after, began, amount = Watched(), stage.index, fault.amount(size)
    recent = Watched({name: said[-3:] for name, said in before.alarms.items()}, {n: s[-3:] for n, s in before.scores.items()})
    known = {a[0] for said in recent.alarms.get(OURS, []) for a in said}
    found = False
    for since in range(patience_h):
        rng = np.random.default_rng([seed, 4, began + since])
        stage.next(after, lambda h, since=since, rng=rng: fault.happen(h, amount, since, rng), [OURS] if found else [])
        found = found or any(a[0] not in known for a in after.alarms[OURS][-1])
        if found and not stage.rules:
            break
    return FaultRun(fault.name, size, seed, recent, after)


def seed_runs(
    seed: int,
    names: Sequence[str],
    sizes: Sequence[str],
    clean_weeks: int,
    pages_per_hour: int,
    history_h: int = HISTORY_H,
    baselines: bool = True,
) -> tuple[list[FaultRun], Watched | None]:
    """All of one seed, for a process of its own; says how far it is. After a history that is short faults begin within a day."""
    runs: list[FaultRun] = []
    faults, within_h = [FAULTS[n] for n in names], FAULTY_WEEK_H if history_h >= HISTORY_H else 24
    clean_h = 24 * 7 * clean_weeks
    for found in healthy_and_broken(seed, faults, sizes, clean_h, pages_per_hour, history_h, within_h, baselines=baselines):
        if isinstance(found, Watched):
            return runs, found
        runs.append(found)
        if len(runs) % len(sizes) == 0:
            print(f"         seed {seed}: {len(runs)} of {len(names) * len(sizes)} faults", file=sys.stderr, flush=True)
    return runs, None
