"""Geometry of the report's charts; the template draws them as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Axis:
    """Maps [low, high] to pixels [start, end], with ticks at round values."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Pixel of a value, one beyond the axis at its end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    @property
    def ticks(self) -> tuple[float, ...]:
        """About five multiples of 1, 2 or 5 times a power of ten."""
        rough = (self.high - self.low) / 5
        power = 10.0 ** np.floor(np.log10(rough))
        step = power * next(m for m in (1, 2, 5, 10) if rough <= m * power * (1 + 1e-9))
        first, last = np.ceil(self.low / step - 1e-9), np.floor(self.high / step + 1e-9)
        return tuple(float(round(i * step, 12)) + 0.0 for i in np.arange(first, last + 1))  # + 0.0: -0.0 would show its sign


def axis_over(values: Sequence[float], start: float, end: float) -> Axis:
    """An axis over values, with a margin of a twentieth; around one value, of a tenth of it."""
    low, high = min(values), max(values)
    margin = (high - low) / 20 or abs(low) / 10 or 1.0
    return Axis(low - margin, high + margin, start, end)


@dataclass(frozen=True, slots=True)
class Line:
    """One series of a line chart: points (x, y)."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A frame of `width` x `height` pixels, and what is drawn in it."""

    x: Axis
    y: Axis
    width: int
    height: int
    lines: tuple[Line, ...] = ()


def line_chart(lines: tuple[Line, ...], width: int = 460, height: int = 260) -> Chart:
    """Lines over a common x."""
    xs, ys = zip(*(point for line in lines for point in line.points), strict=True)
    return Chart(Axis(min(xs), max(max(xs), min(xs) + 1), 48, width - 12), axis_over(ys, height - 34, 10), width, height, lines)


def square_chart(high: float, side: int = 300) -> Chart:
    """Equal axes from 0 to `high`."""
    return Chart(Axis(0, high, 48, side - 12), Axis(0, high, side - 34, 10), side, side)
