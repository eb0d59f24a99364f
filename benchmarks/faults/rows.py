"""From what detectors said to the rows of the table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.faults.faults import FAULTS
from benchmarks.faults.runs import OURS, Alarm, FaultRun, Watched, alarms_of

QUIET_H: Final = 3
"""Alarms of one series that are no further apart are one."""
TUNED: Final = ", one false alarm a week"
"""Of a baseline whose threshold was set by the healthy weeks to what is promised: what nobody can do beforehand."""


@dataclass(frozen=True, slots=True)
class Row:
    """One fault of one size, seed and detector; hours_to_detection is None if it was missed, 1 within the first hour."""

    fault: str
    size: str
    seed: int
    detector: str
    hours_to_detection: int | None
    feature_right: bool
    slice_right: bool
    money_lost_micros: int


@dataclass(frozen=True, slots=True)
class Clean:
    """Healthy weeks of one seed."""

    seed: int
    detector: str
    false_alarms: int
    weeks: float
    fault: str = "none"


def row(run: FaultRun, detector: str, before: Sequence[list[Alarm]], after: Sequence[list[Alarm]]) -> Row:
    """How a detector did. A series that alarmed just before says nothing new."""
    known = {name for said in before for name, _ in said}
    fault = FAULTS[run.fault]
    for hour, said in enumerate(after):
        new = [alarm for alarm in said if alarm[0] not in known]
        if new:
            name, part = new[0]
            lost = round(sum(run.after.lost_micros[: hour + 1]))
            right = name in fault.features, part in fault.slices
            return Row(run.fault, run.size, run.seed, detector, hour + 1, *right, lost)
    return Row(run.fault, run.size, run.seed, detector, None, False, False, round(sum(run.after.lost_micros)))


def false_alarms(said: Iterable[list[Alarm]]) -> int:
    """Times that some series alarmed that had been quiet for QUIET_H hours; those of one hour are one."""
    last: dict[str, int] = {}
    count = 0
    for hour, alarms in enumerate(said):
        count += any(hour - last.get(name, -QUIET_H - 1) > QUIET_H for name, _ in alarms)
        last |= {name: hour for name, _ in alarms}
    return count


def rows_of(runs: Sequence[FaultRun], clean: dict[int, Watched]) -> list[Row | Clean]:
    """All rows: of each detector as it is, and of baselines at equal false alarms if there are healthy weeks to set them by."""
    found: list[Row | Clean] = []
    rules = list(runs[0].after.scores) if runs else [n for w in clean.values() for n in w.scores][:3]
    thresholds = {name: tuned_threshold(name, clean.values()) for name in rules} if clean else {}
    for run in runs:
        for name, said in run.after.alarms.items():
            found.append(row(run, name, run.before.alarms.get(name, []), said))
        for name, threshold in thresholds.items():
            before, after = (
                [alarms_of(s, threshold) for s in scores] for scores in (run.before.scores.get(name, []), run.after.scores[name])
            )
            found.append(row(run, name + TUNED, before, after))
    for seed, watched in clean.items():
        weeks = len(watched.lost_micros) / 168
        for name, said in watched.alarms.items():
            found.append(Clean(seed, name, false_alarms(said), weeks))
        for name, threshold in thresholds.items():
            found.append(Clean(seed, name + TUNED, false_alarms(alarms_of(s, threshold) for s in watched.scores[name]), weeks))
    return found


def tuned_threshold(name: str, clean: Iterable[Watched]) -> float:
    """The least with which a baseline has at most one false alarm a week in these healthy weeks."""
    series = [watched.scores[name] for watched in clean]
    weeks = sum(len(s) for s in series) / 168
    candidates = sorted({max(scores.values(), default=0.0) for hours in series for scores in hours})
    low, high = 0, len(candidates) - 1  # false alarms need not fall evenly, but do so nearly
    while low < high:
        middle = (low + high) // 2
        alarms = sum(false_alarms(alarms_of(s, candidates[middle]) for s in hours) for hours in series)
        low, high = (low, middle) if alarms <= weeks else (middle + 1, high)
    return candidates[low]


__all__ = ["OURS", "TUNED", "Clean", "Row", "false_alarms", "row", "rows_of", "tuned_threshold"]
