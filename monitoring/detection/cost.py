"""What a finding costs a day, in micros, as far as the hour's money says. How each is reckoned: docs/monitoring.md."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from monitoring.detection.betting import mispriced_micros
from monitoring.detection.calibrated import BETTING
from monitoring.detection.flow_rates import RISE_IS_FREE
from monitoring.detection.profile import NumberBlock, Profile
from monitoring.summaries import ALL, Series, Slice

_HOURS: Final = 24


def cost_micros_per_day(
    kind: str, series: Series, part: Slice, size: float, usual: float, now: Profile, earlier: Sequence[Profile]
) -> int:
    """Money by which a day like this hour differs from a usual one; 0 where it cannot be said.

    calibration: what these rows brought less what their probabilities said. A flow: what was charged, times by how much its rate
    or amount is off, but nothing where more is better. A feature or prediction: what was charged, times by how much the slice's
    mean prediction is off, the furthest of its tasks: an estimate from scores, before labels mature.
    """
    if kind in ("calibration", BETTING):
        matured = now.calibrations.get((part, series))
        return 0 if matured is None else abs(mispriced_micros(matured)) * _HOURS
    charged = _charged_micros(now, earlier, part)
    if kind == "flow":
        if size > usual and series.name in RISE_IS_FREE:
            return 0
        off = abs(size - usual) / usual if usual > 0 and np.isfinite(size) else 0.0
        return round(charged * min(off, 1.0) * _HOURS)
    return round(charged * _prediction_off(now, earlier, part) * _HOURS)


def _charged_micros(now: Profile, earlier: Sequence[Profile], part: Slice) -> float:
    """What an hour like this usually brings in a slice; where charges do not say the slice, its part of all by filled slots."""
    hours = [p for p in earlier if ALL in p.flows] or [now]
    return float(np.mean([_charged_in(p, part) for p in hours]))


def _charged_in(hour: Profile, part: Slice) -> float:
    whole, here = hour.flows.get(ALL, {}), hour.flows.get(part, {})
    if "charged_micros" in here or not here:
        return float(here.get("charged_micros", 0))
    return whole.get("charged_micros", 0) * min(here.get("filled", 0) / max(whole.get("filled", 0), 1), 1.0)


def _prediction_off(now: Profile, earlier: Sequence[Profile], part: Slice) -> float:
    off = [0.0]
    for series, block in now.numbers.items():
        if series.kind == "probability":
            before = [m for p in earlier if series in p.numbers and (m := _mean(p.numbers[series], part)) is not None]
            mean = _mean(block, part)
            if before and mean is not None and (usual := float(np.mean(before))) > 0:
                off.append(min(abs(mean - usual) / usual, 1.0))
    return max(off)


def _mean(block: NumberBlock, part: Slice) -> float | None:
    if part not in block.slices:
        return None
    mean = float(block.quantiles[block.slices.index(part)].mean())
    return mean if np.isfinite(mean) else None
