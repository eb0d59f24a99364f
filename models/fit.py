"""Trains the ranker and the two towers on packed rows in memory (4 bytes per row and column)."""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.market import Market
from features.model_spec import ModelSpec
from models.embedding import of_group
from models.legacy_keras import keras, tf
from models.losses import task_weights
from models.preprocessing import Encoding
from models.progress import FitProgress, Report
from models.ranker import Ranker
from models.two_tower import TwoTower

REPORT_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows to fit on or to judge by."""

    inputs: dict[str, NDArray[Any]]
    """The packed tensors of models.ranker.Inputs."""
    labels: dict[str, NDArray[np.float32]]
    """Label -> [N], 0 or 1."""
    positions: NDArray[np.int32] | None = None
    """[N], the slot each row was shown in, from 0; none where the log does not tell."""
    weights: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """Task -> [N], multiplies the row's loss of that task, such as an importance weight for delayed labels."""

    def __len__(self) -> int:
        return len(self.inputs["request_ids"])


def fit_ranker(market: Market, encoding: Encoding, train: Rows, valid: Rows, report: Report) -> Ranker:
    """Stops once the first task's validation loss no longer falls, and keeps the weights of its lowest point."""
    spec, names = market.model, tuple(t.name for t in market.tasks)
    keras.utils.set_random_seed(spec.seed)
    weights = task_weights(market.tasks, train.labels)
    labels = np.stack([train.labels[t.label] for t in market.tasks], axis=1)
    base_rates = ((labels * weights).sum(axis=0) + 0.5) / (weights.sum(axis=0) + 1)
    ranker = Ranker(encoding, names, spec, base_rates.astype(np.float64))
    ranker.compile(optimizer=keras.optimizers.Adam(spec.learning_rate), weighted_metrics=[])
    stop = keras.callbacks.EarlyStopping(f"val_{names[0]}_loss", mode="min", patience=spec.patience, restore_best_weights=True)
    held_out = (
        valid.inputs,
        np.stack([valid.labels[t.label] for t in market.tasks], axis=1),
        task_weights(market.tasks, valid.labels),
    )
    ranker.fit(
        _batches((train.inputs, labels, weights), spec, shuffle=True),
        validation_data=_batches(held_out, spec, shuffle=False),
        epochs=spec.epochs,
        verbose=0,
        callbacks=[stop, _Reporter("ranker", len(train), spec.epochs, spec.batch_size, report)],
    )
    return ranker


def fit_towers(market: Market, encoding: Encoding, train: Rows, report: Report) -> TwoTower:
    """Fits on the rows whose first label is 1."""
    spec = market.model
    keras.utils.set_random_seed(spec.seed)
    clicked = train.labels[market.tasks[0].label] == 1
    inputs = {name: column[clicked] for name, column in train.inputs.items()}
    described = np.concatenate(list(of_group(inputs, "offer").values()), axis=1)
    _, offer, count = np.unique(described, axis=0, return_inverse=True, return_counts=True)
    offer = offer.reshape(-1)  # NumPy 2.0 alone gives it a second axis
    probability = (count / count.sum())[offer].astype(np.float32)
    towers = TwoTower(encoding, spec)
    towers.compile(optimizer=keras.optimizers.Adam(spec.learning_rate), weighted_metrics=[])
    towers.fit(
        _batches((inputs, offer.astype(np.int64), probability), spec, shuffle=True),
        epochs=spec.tower_epochs,
        verbose=0,
        callbacks=[_Reporter("two towers", int(clicked.sum()), spec.tower_epochs, spec.batch_size, report)],
    )
    return towers


def _batches(columns: Any, spec: ModelSpec, *, shuffle: bool) -> Any:
    """Batches by gathering from whole columns: shuffles row numbers, not rows."""
    tensors = tf.nest.map_structure(tf.constant, columns)
    rows = int(tf.nest.flatten(tensors)[0].shape[0])
    numbers = tf.data.Dataset.range(rows)
    if shuffle:
        numbers = numbers.shuffle(rows, seed=spec.seed, reshuffle_each_iteration=True)
    size = spec.batch_size if shuffle else 8 * spec.batch_size
    return numbers.batch(size).map(lambda i: tf.nest.map_structure(lambda t: tf.gather(t, i), tensors)).prefetch(2)


class _Reporter(keras.callbacks.Callback):
    """Turns Keras's callbacks into `FitProgress`, a few times per second."""

    def __init__(self, model: str, rows: int, epochs: int, batch_size: int, report: Report) -> None:
        super().__init__()
        self._name, self._rows, self._epochs, self._batch_size, self._report = model, rows, epochs, batch_size, report
        self._epoch, self._began, self._reported, self._loss = 0, 0.0, 0.0, float("nan")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the clock."""
        del logs
        self._epoch, self._began = epoch + 1, time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Reports now and then."""
        self._loss = float((logs or {}).get("loss", float("nan")))
        if time.monotonic() - self._reported >= REPORT_EVERY_S:
            self._tell(min((batch + 1) * self._batch_size, self._rows))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Reports every finished epoch."""
        del epoch, logs
        self._tell(self._rows)

    def _tell(self, rows: int) -> None:
        self._reported = time.monotonic()
        rate = rows / max(self._reported - self._began, 1e-9)
        self._report(FitProgress(self._name, self._epoch, self._epochs, rows, self._rows, rate, self._loss))
