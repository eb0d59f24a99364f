"""Delayed conversions: a click without a conversion so far is not a click that will never convert.

Rows enter training at the end of the hour of their click, with what is known by then; one that converts later enters again
as a positive. That shifts the odds, which two probabilities undo:

    p_dp(x, e)  a delayed positive: P(converts later than e after its click)
    p_rn(x, e)  a real negative:    P(never converts | has not converted by e)
    weight      = 1 + p_dp             of a positive
                = (1 + p_dp) p_rn      of a row that has not converted yet

With them the loss of hourly rows has the expectation it would have on the final labels.

Source: Yang et al. (2021), Capturing delayed feedback in conversion rate prediction via elapsed-time sampling (ES-DFM).
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.errors import ContractError
from features.market import Market
from features.model_spec import TaskSpec
from models.fit import Rows, fit_ranker
from models.preprocessing import Encoding
from models.progress import Report

VALID_FRACTION = 0.1
TASKS = (
    TaskSpec(name="delayed_positive", label="delayed"),
    TaskSpec(name="real_negative", label="never", given="not_yet"),
)


@dataclass(frozen=True, slots=True)
class Stream:
    """Clicks that enter hourly training in one hour."""

    rows: NDArray[np.int64]
    """Numbers of the clicks: those of the hour, then earlier ones that converted in it."""
    elapsed_s: NDArray[np.float64]
    """From each click to the end of its own hour, when it first entered."""
    converted: NDArray[np.bool_]
    """Whether it had converted when it entered, this time."""


def stream(click_s: NDArray[np.float64], delay_s: NDArray[np.float64], since_s: float, every_s: float) -> Stream:
    """What enters training at `since_s + every_s`.

    Args:
      click_s: [N] when the clicks came; hours begin at multiples of `every_s`. Clicks that were trained on with their final
        labels are not among them.
      delay_s: [N] from click to conversion, infinite where none came within the attribution window.
      since_s: beginning of the hour.
    """
    now_s = since_s + every_s
    elapsed_s = every_s - click_s % every_s
    converted_s = click_s + delay_s
    fresh = np.flatnonzero((since_s <= click_s) & (click_s < now_s))
    late = np.flatnonzero((click_s < since_s) & (since_s < converted_s) & (converted_s <= now_s))
    rows = np.concatenate([fresh, late])
    return Stream(rows, elapsed_s[rows], converted_s[rows] <= now_s)


def importance_weights(
    converted: NDArray[np.bool_], delayed_positive: NDArray[np.float64], real_negative: NDArray[np.float64]
) -> NDArray[np.float32]:
    """The weight of each row of a stream, for `Rows.weights`.

    Args:
      converted: [N] as known when the row entered.
      delayed_positive, real_negative: [N], p_dp and p_rn in [0, 1].
    Returns:
      [N], from 0 to 2.
    Raises:
      ContractError: shapes differ, or a probability leaves [0, 1].
    """
    for name, p in (("delayed_positive", delayed_positive), ("real_negative", real_negative)):
        if p.shape != converted.shape or not ((p >= 0) & (p <= 1)).all():
            raise ContractError(f"{name}: expected [{len(converted)}] probabilities, got shape {p.shape}")
    return ((1 + delayed_positive) * np.where(converted, 1.0, real_negative)).astype(np.float32)


class DelayModel:
    """p_dp and p_rn: the ranker's network, with the logarithm of the elapsed time as one more input."""

    def __init__(
        self, market: Market, encoding: Encoding, clicks: Rows, delay_s: NDArray[np.float64], every_s: float, report: Report
    ):
        """Fits on clicks whose attribution window has closed.

        Args:
          clicks: inputs of the clicks, in the order they came; labels are not read.
          delay_s: [N] from click to conversion, infinite where none came.
          every_s: seconds between trainings; each click is taken to have come at a random time of its hour.
        """
        request = replace(encoding.request, numbers=(*encoding.request.numbers, "elapsed:z"))
        rng = np.random.default_rng(market.model.seed)
        elapsed_s = every_s * (1 - rng.random(len(clicks)))
        not_yet, never = delay_s > elapsed_s, np.isinf(delay_s)
        labels = {"delayed": not_yet & ~never, "never": never, "not_yet": not_yet}
        self._every_s = every_s
        rows = Rows(self._with(clicks.inputs, elapsed_s), {name: y.astype(np.float32) for name, y in labels.items()})
        cut = len(clicks) - max(int(VALID_FRACTION * len(clicks)), 1)
        own = market.model_copy(update={"tasks": TASKS, "model": market.model.model_copy(update={"bias": None})})
        train, valid = _take(rows, slice(cut)), _take(rows, slice(cut, None))
        self._ranker, _ = fit_ranker(own, replace(encoding, request=request), train, valid, report)

    def probabilities(self, inputs: dict[str, NDArray[Any]], elapsed_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """[N, 2], p_dp and p_rn of clicks that entered so long after they came."""
        return np.asarray(self._ranker.probabilities(self._with(inputs, elapsed_s)), np.float64)

    def weights(self, inputs: dict[str, NDArray[Any]], entered: Stream) -> NDArray[np.float32]:
        """Importance weights [N] of the rows of a stream, whose inputs are given."""
        delayed_positive, real_negative = self.probabilities(inputs, entered.elapsed_s).T
        return importance_weights(entered.converted, delayed_positive, real_negative)

    def _with(self, inputs: dict[str, NDArray[Any]], elapsed_s: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
        """log(elapsed / hour) of a uniform time has mean -1 and standard deviation 1."""
        elapsed = 1 + np.log(np.maximum(elapsed_s / self._every_s, 1e-3))
        numbers = np.concatenate([inputs["request_numbers"], elapsed[:, None].astype(np.float32)], axis=1)
        return {**inputs, "request_numbers": numbers}


def _take(rows: Rows, part: slice) -> Rows:
    return Rows({k: x[part] for k, x in rows.inputs.items()}, {k: y[part] for k, y in rows.labels.items()})
