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
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from domain.errors import ContractError
from features.market import Market
from features.model_spec import TaskSpec
from models.fit import Rows, Start, fit_ranker, new_ranker
from models.preprocessing import Encoding, Group
from models.progress import Report
from models.ranker import Ensemble

VALID_FRACTION = 0.1
LABELS = ("delayed", "never", "not_yet")
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
    """p_dp and p_rn: the ranker's network, with the logarithm of the elapsed time as one more input.

    Args:
      networks: of `TASKS`.
      every_s: seconds between trainings.
    """

    def __init__(self, networks: Ensemble, every_s: float):
        self.networks = networks
        self._every_s = every_s

    @classmethod
    def fit(
        cls, market: Market, encoding: Encoding, clicks: Rows, delay_s: NDArray[np.float64], every_s: float, report: Report
    ) -> Self:
        """Fits on clicks whose attribution window has closed.

        Args:
          clicks: inputs of the clicks, in the order they came, or at random; labels are not read.
          delay_s: [N] from click to conversion, infinite where none came.
          every_s: seconds between trainings; each click is taken to have come at a random time of its hour.
        """
        rng = np.random.default_rng(market.model.seed)
        elapsed_s = every_s * (1 - rng.random(len(clicks)))
        not_yet, never = delay_s > elapsed_s, np.isinf(delay_s)
        labels = {"delayed": not_yet & ~never, "never": never, "not_yet": not_yet}
        inputs = _with_elapsed(clicks.inputs, elapsed_s, every_s)
        rows = Rows(inputs, {name: y.astype(np.float32) for name, y in labels.items()})
        cut = len(clicks) - max(int(VALID_FRACTION * len(clicks)), 1)
        train, valid = _take(rows, slice(cut)), _take(rows, slice(cut, None))
        networks, _ = fit_ranker(_own(market), _encoding(encoding), train, valid, report)
        return cls(networks, every_s)

    @classmethod
    def restore(cls, market: Market, encoding: Encoding, inputs: dict[str, NDArray[Any]], every_s: float, start: Start) -> Self:
        """With weights that `start` sets.

        Args:
          inputs: of any clicks, to build the networks by.
        """
        one = _with_elapsed({name: x[:1] for name, x in inputs.items()}, np.ones(1), every_s)
        row = Rows(one, {label: np.zeros(1, np.float32) for label in LABELS})
        own = _own(market)
        members = [new_ranker(own, _encoding(encoding), row, number) for number in range(market.model.networks)]
        for member in members:
            start(member)
        return cls(Ensemble(members), every_s)

    def probabilities(self, inputs: dict[str, NDArray[Any]], elapsed_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """[N, 2], p_dp and p_rn of clicks that entered so long after they came."""
        return np.asarray(self.networks.probabilities(_with_elapsed(inputs, elapsed_s, self._every_s)), np.float64)

    def weights(self, inputs: dict[str, NDArray[Any]], entered: Stream) -> NDArray[np.float32]:
        """Importance weights [N] of the rows of a stream, whose inputs are given."""
        delayed_positive, real_negative = self.probabilities(inputs, entered.elapsed_s).T
        return importance_weights(entered.converted, delayed_positive, real_negative)


def with_elapsed(request: Group) -> Group:
    """What the networks read of a request: the elapsed time is its last number."""
    return replace(request, numbers=(*request.numbers, "elapsed:z"))


def _encoding(encoding: Encoding) -> Encoding:
    return replace(encoding, request=with_elapsed(encoding.request))


def _own(market: Market) -> Market:
    return market.model_copy(update={"tasks": TASKS, "model": market.model.model_copy(update={"bias": None})})


def _with_elapsed(inputs: dict[str, NDArray[Any]], elapsed_s: NDArray[np.float64], every_s: float) -> dict[str, NDArray[Any]]:
    """log(elapsed / hour) of a uniform time has mean -1 and standard deviation 1."""
    elapsed = 1 + np.log(np.maximum(elapsed_s / every_s, 1e-3))
    numbers = np.concatenate([inputs["request_numbers"], elapsed[:, None].astype(np.float32)], axis=1)
    return {**inputs, "request_numbers": numbers}


def _take(rows: Rows, part: slice) -> Rows:
    return Rows({k: x[part] for k, x in rows.inputs.items()}, {k: y[part] for k, y in rows.labels.items()})
