"""Judge, then learn: one pass over new rows in the order they came, in which every batch is scored before it is learned from.

    p_i = the model after batches 1 .. b - 1, at row i of batch b

The scores are of rows that the model had not learned from, and no row is held out for them: evaluation, gates and calibration
rest on them, and every row is learned. Slots of a page share their shopper, so no batch ends within a page.

Sources: Dawid (1984), the prequential approach; Blum, Kalai and Langford (1999), Beating the hold-out: progressive validation.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.market import Market
from models.fit import REPORT_EVERY_S, Rows, columns_of, positions_of
from models.legacy_keras import tf
from models.metrics import row_log_loss
from models.progress import Epoch, FitProgress, Report
from models.ranker import Ensemble, Ranker

SCORED_AT_ONCE = 65_536


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model said of rows."""

    p: NDArray[np.float32]
    """[N, T], as served: of a row at the first position, and of a conditional task given its condition."""
    examination: NDArray[np.float32]
    """[N], P(seen at the row's position) over that at the first."""


class ProgressivePass:
    """A pass, as often as it is called, on an ensemble whose members are compiled; their optimizers go on where they are."""

    def __init__(self, market: Market, ensemble: Ensemble) -> None:
        self._market, self._members = market, ensemble.members
        self._steps: list[Any] = []

    def __call__(self, rows: Rows, pages: NDArray[np.int64], report: Report) -> tuple[Scores, Epoch]:
        """Scores every row and learns from all of them.

        Args:
          rows: in the order of time.
          pages: [N], alike for neighbours that were shown on one page.
        """
        columns = columns_of(self._market.tasks, rows)
        if not self._steps:
            spec = tf.nest.map_structure(lambda x: tf.TensorSpec([None, *x.shape[1:]], x.dtype), columns)
            self._steps = [tf.function(_step(member), input_signature=[spec]) for member in self._members]
        ends = page_ends(pages, self._market.model.batch_size)
        began = reported = traced = time.monotonic()
        p, examination = [], []
        for start, end in zip([0, *ends], ends, strict=False):
            batch = tf.nest.map_structure(lambda x: tf.constant(x[start:end]), columns)  # noqa: B023
            found = [[x.numpy() for x in step(batch)] for step in self._steps]
            p.append(np.mean([scores for scores, _ in found], axis=0))
            examination.append(np.exp(np.mean([log_e for _, log_e in found], axis=0)))
            if start == 0:
                traced = time.monotonic()  # the first batch says nothing of the pace
            elif time.monotonic() - reported >= REPORT_EVERY_S:
                reported = time.monotonic()
                of_batch = log_losses(self._market, rows.take(np.arange(start, end)), Scores(p[-1], examination[-1]))
                pace = (end - ends[0]) / max(reported - traced, 1e-9)
                report(FitProgress("ranker", 1, 1, end, len(rows), pace, sum(of_batch.values())))
        scores = Scores(np.concatenate(p), np.concatenate(examination))
        losses = log_losses(self._market, rows, scores)
        return scores, Epoch(epoch=1, seconds=time.monotonic() - began, train_loss=sum(losses.values()), valid_loss=losses)


def _step(member: Ranker) -> Any:
    """Scores a batch, then learns from it."""

    def step(batch: tuple[Any, Any, Any, Any]) -> tuple[Any, Any]:
        inputs, positions, _, _ = batch
        scored = member.probabilities(inputs), member.log_examination(inputs, positions)
        with tf.control_dependencies(scored):
            member.train_step(batch)
        return scored

    return step


def score(ensemble: Ensemble, rows: Rows) -> Scores:
    """Of rows that are not learned from."""
    positions = positions_of(rows)
    p, examination = [], []
    for start in range(0, len(rows), SCORED_AT_ONCE):
        inputs = {name: column[start : start + SCORED_AT_ONCE] for name, column in rows.inputs.items()}
        p.append(ensemble.probabilities(inputs).numpy())
        examination.append(np.exp(ensemble.log_examination(inputs, positions[start : start + SCORED_AT_ONCE]).numpy()))
    return Scores(np.concatenate(p), np.concatenate(examination))


def log_losses(market: Market, rows: Rows, scores: Scores) -> dict[str, float]:
    """Task -> log loss where rows were shown, over those that count, divided by all rows."""
    conditional = tuple(t.model_copy(update={"space": "conditional"}) for t in market.tasks)
    _, _, labels, weights = columns_of(conditional, rows)
    losses = {}
    for i, t in enumerate(market.tasks):
        p = scores.p[:, i] if t.given else scores.p[:, i] * scores.examination
        losses[t.name] = float(np.mean(weights[:, i] * row_log_loss(labels[:, i], p)))
    return losses


def page_ends(pages: NDArray[np.int64], batch_size: int) -> list[int]:
    """Where batches end: each is as many whole pages as make `batch_size` rows, the last one what is left."""
    ends: list[int] = []
    start = 0
    for end in [*(np.flatnonzero(np.diff(pages)) + 1).tolist(), len(pages)]:
        if end - start >= batch_size or start < end == len(pages):
            ends.append(end)
            start = end
    return ends
