"""From streams that alarm to what a person is told: one finding per series and kind, in the slice that explains it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitoring.detection.calibrated import BETTING
from monitoring.detection.cost import cost_micros_per_day
from monitoring.detection.distances import Floats
from monitoring.detection.finding import Finding
from monitoring.detection.locating import causal_rank, mix_that_explains, smallest_slice
from monitoring.detection.measures import Measured
from monitoring.detection.profile import Profile
from monitoring.summaries import ALL, Series

_TOGETHER_HOURS = 1
"""Evidence that began within as many hours of each other began together."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What the tests say of the streams of one hour, in the order of its measures; [K] or [K, 2]."""

    z: Floats
    over: Floats
    """[K, 2] log of the evidence over the threshold, of a rise and of a fall."""
    opened_ms: NDArray[np.int64]
    began_ms: NDArray[np.int64]
    fell: NDArray[np.int64]
    quiet: NDArray[np.int64]


def told(now: Profile, earlier: Sequence[Profile], measured: Measured, judged: Judged, hour_ms: int) -> list[Finding]:
    """Findings of the hour, of alarms that are on and not quiet; what comes first caused the others, as far as can be seen.

    Of all that began together inputs come before predictions, predictions before outcomes and flows, and the surer before the
    less sure. What moved only since a slice's share of the traffic did says so in `explained_by`, and comes last.
    """
    alarming = (judged.opened_ms >= 0) & (judged.quiet == 0)
    if not alarming.any():
        return []
    groups: dict[tuple[str, Series], list[int]] = {}
    for i, stream in enumerate(measured.streams):
        groups.setdefault((stream.kind, stream.series), []).append(i)
    moved = _moved_dimensions(measured, judged, alarming)
    found = []
    for (kind, series), members in groups.items():
        at = np.array(members)
        if alarming[at].any():
            found.append(_finding(kind, series, at, now, earlier, measured, judged, alarming, moved))
    first_ms = min(f.since_ms for f in found)

    def order(f: Finding) -> tuple[bool, bool, int, float]:
        late = f.since_ms > first_ms + _TOGETHER_HOURS * hour_ms
        return ("explained_by" in f.detail, late, causal_rank(f.kind, f.series), -f.evidence)

    return sorted(found, key=order)


def _moved_dimensions(measured: Measured, judged: Judged, alarming: NDArray[np.bool_]) -> Mapping[str, float]:
    """Features that alarm in all traffic by their own distribution, and how surely."""
    return {
        s.series.name: float(judged.z[i])
        for i, s in enumerate(measured.streams)
        if alarming[i] and s.slice == ALL and s.series.kind == "feature" and s.kind != "missing"
    }


def _finding(
    kind: str,
    series: Series,
    at: NDArray[np.int64],
    now: Profile,
    earlier: Sequence[Profile],
    measured: Measured,
    judged: Judged,
    alarming: NDArray[np.bool_],
    moved: Mapping[str, float],
) -> Finding:
    on = at[alarming[at]]
    side = judged.fell[on]
    strongest = on[judged.over[on, side].argmax()]
    sign = -1.0 if judged.fell[strongest] else 1.0
    slices = [measured.streams[i].slice for i in at]
    excess = sign * _excess(kind, measured, at)
    where = smallest_slice(slices, measured.rows[at], excess, sign * judged.z[at])
    named = int(at[slices.index(where.slice)]) if where.slice in slices else int(strongest)
    if where.slice == ALL and not alarming[named] and not sign * judged.z[named] >= 2.0:
        named = int(strongest)  # all traffic shows nothing: the slice that alarms is told by itself
    part = measured.streams[named].slice
    detail: dict[str, float | str] = {
        "z": float(judged.z[strongest]),
        "rows": float(measured.rows[named]),
        "excess_share": where.excess_share,
        "rows_share": where.rows_share,
        "slices_alarming": float(len(on)),
    }
    others = {by: z for by, z in moved.items() if by != series.name}
    if others and kind in ("distribution", "prediction", "tail") and part == ALL:
        mix = mix_that_explains(slices, measured.rows[at], excess, others)
        if mix is not None:
            detail["explained_by"] = mix
    size, usual = float(measured.size[named]), float(measured.usual[named])
    return Finding(
        kind="calibration" if kind == BETTING else kind,
        series=series,
        slice=part,
        release=now.release,
        since_ms=int(min(judged.began_ms[i, judged.fell[i]] for i in on)),
        seen_ms=now.hour_ms,
        size=size,
        usual=usual,
        evidence=float(judged.over[on, side].max()),
        cost_micros_per_day=cost_micros_per_day(kind, series, part, size, usual, now, earlier),
        detail=detail,
    )


def _excess(kind: str, measured: Measured, at: NDArray[np.int64]) -> Floats:
    """Excess per row: of a rate over its usual one, of a distance over its sampling, of predicted outcomes over observed ones."""
    size, usual = measured.size[at], measured.usual[at]
    if kind in ("calibration", BETTING):
        # size is predicted over observed outcomes: what is missing of each predicted one.
        return np.asarray(1.0 / np.maximum(size, 1e-9) - 1.0)
    if measured.rising[at].all():
        return np.asarray(np.maximum(size - usual, 0.0))
    relative = kind == "flow" and measured.streams[at[0]].series.name == "pages"
    return np.asarray(np.log((size + 0.5) / np.maximum(usual, 0.5)) if relative else size - usual)
