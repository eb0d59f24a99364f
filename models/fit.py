"""Trains the ranker and the two towers on packed rows in memory (4 bytes per row and column)."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.market import Market
from features.model_spec import ModelSpec, TaskSpec
from models.bias import UNKNOWN
from models.embedding import of_group
from models.legacy_keras import keras, tf
from models.losses import task_weights
from models.optimizer import LazyAdam
from models.preprocessing import Encoding
from models.progress import Epoch, FitProgress, Histories, History, Pace, Report
from models.ranker import Ensemble, Ranker
from models.tensors import tensor
from models.two_tower import TwoTower

REPORT_EVERY_S = 0.2
MEMBER_SEED = 10_000  # keeps the seeds of members apart

Start = Callable[[Any], object]
"""Sets the weights that a network starts from, once it has some."""


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
    """Task -> [N], multiplies the row's loss of that task: 0 where its label is not final, or an importance weight."""
    stands_for: NDArray[np.float32] | None = None
    """[N], multiplies the row's loss of every task: 1 on average, more where a row stands for others that were left out."""

    def __len__(self) -> int:
        return len(self.inputs["request_ids"])

    def take(self, rows: NDArray[Any]) -> "Rows":
        """Some of them, by number or by mask."""
        inputs, labels, weights = (
            {name: column[rows] for name, column in columns.items()} for columns in (self.inputs, self.labels, self.weights)
        )
        positions, stands_for = (None if x is None else x[rows] for x in (self.positions, self.stands_for))
        return Rows(inputs, labels, positions, weights, stands_for)


def fit_ranker(
    market: Market, encoding: Encoding, train: Rows, valid: Rows, report: Report, start: Start | None = None
) -> tuple[Ensemble, Histories]:
    """The market's ensemble, one member after the other."""
    members, histories = [], []
    for number in range(market.model.networks):
        member, history = _fit_member(of_member(market, number), encoding, train, valid, report, start, number)
        members.append(member)
        histories.append(history)
    return Ensemble(members), Histories(fits=tuple(histories))


def resume_ranker(market: Market, encoding: Encoding, rows: Rows, start: Start) -> Ensemble:
    """The market's ensemble as `start` sets it, ready to go on; `rows` only build it."""
    return Ensemble(
        [_started(of_member(market, number), encoding, rows, start, number) for number in range(market.model.networks)]
    )


def of_member(market: Market, number: int) -> Market:
    """The market with the seed of a member."""
    spec = market.model.model_copy(update={"seed": market.model.seed + MEMBER_SEED * number})
    return market.model_copy(update={"model": spec})


def _started(market: Market, encoding: Encoding, rows: Rows, start: Start | None, number: int) -> Ranker:
    """A compiled network with its initial weights."""
    keras.utils.set_random_seed(market.model.seed)
    ranker = new_ranker(market, encoding, rows, number)
    ranker.compile(optimizer=LazyAdam(market.model.learning_rate), weighted_metrics=[])
    if start is not None:
        start(ranker)
    return ranker


def _fit_member(
    market: Market, encoding: Encoding, train: Rows, valid: Rows, report: Report, start: Start | None, number: int
) -> tuple[Ranker, History]:
    """Stops once the first task's validation loss no longer falls, and keeps the weights of its lowest point."""
    spec = market.model
    ranker = _started(market, encoding, train, start, number)
    primary, members = market.tasks[0].name, market.model.networks
    name = f"ranker {number + 1}/{members}" if members > 1 else "ranker"
    stop = keras.callbacks.EarlyStopping(f"val_{primary}_loss", mode="min", patience=spec.patience, restore_best_weights=True)
    recorder = _Recorder(market.tasks)
    ranker.fit(
        batches(columns_of(market.tasks, train), spec, shuffle=True),
        validation_data=batches(columns_of(market.tasks, valid), spec, shuffle=False),
        epochs=spec.epochs,
        verbose=0,
        callbacks=[recorder, stop, _Reporter(name, len(train), spec.epochs, spec.batch_size, report)],
    )
    return ranker, History(model=name, primary=primary, epochs=tuple(recorder.epochs))


def new_ranker(market: Market, encoding: Encoding, train: Rows, number: int = 0) -> Ranker:
    """A ranker that predicts the base rates, with all its variables built."""
    # An output stands for the label given its condition, also where its loss is over all rows.
    conditional = tuple(t.model_copy(update={"space": "conditional"}) for t in market.tasks)
    _, _, labels, weights = columns_of(conditional, train)
    base_rates = ((labels * weights).sum(axis=0) + 0.5) / (weights.sum(axis=0) + 1)
    slots = sum(p.count for p in market.placements)
    ranker = Ranker(encoding, market.tasks, market.model, base_rates.astype(np.float64), slots, name=f"ranker_{number}")
    first = _first(train.inputs)
    ranker(first)
    ranker.log_examination(first, np.zeros(1, np.int32))
    return ranker


def columns_of(tasks: tuple[TaskSpec, ...], rows: Rows) -> tuple[Any, Any, Any, Any]:
    """What `Ranker.compute_loss` takes: inputs, positions [N], labels [N, T], weights [N, T]."""
    weights = task_weights(tasks, rows.labels)
    for i, t in enumerate(tasks):
        if t.name in rows.weights:
            weights[:, i] *= rows.weights[t.name]
    if rows.stands_for is not None:
        weights *= rows.stands_for[:, None]
    return rows.inputs, positions_of(rows), np.stack([rows.labels[t.label] for t in tasks], axis=1), weights


def positions_of(rows: Rows) -> NDArray[np.int32]:
    """[N], unknown where the log does not tell."""
    return np.full(len(rows), UNKNOWN, np.int32) if rows.positions is None else rows.positions.astype(np.int32)


def fit_towers(market: Market, encoding: Encoding, train: Rows, report: Report, start: Start | None = None) -> TwoTower:
    """Fits on the rows that count for the first task and whose label is 1; where there is none, as `start` left them."""
    towers = resume_towers(market, encoding, train, start)
    learn_clicks(market, towers, train, market.model.tower_epochs, report)
    return towers


def resume_towers(market: Market, encoding: Encoding, train: Rows, start: Start | None) -> TwoTower:
    """Compiled, with their initial weights; `train` only builds them."""
    spec = market.model
    keras.utils.set_random_seed(spec.seed)
    towers = TwoTower(encoding, spec)
    towers.compile(optimizer=LazyAdam(spec.learning_rate), weighted_metrics=[])
    if start is not None:
        one = _first(train.inputs)
        towers.query(**of_group(one, "request"))
        towers.offer(**of_group(one, "offer"))
        start(towers)
    return towers


def learn_clicks(market: Market, towers: TwoTower, rows: Rows, epochs: int, report: Report) -> None:
    """So many passes over the rows that count for the first task and whose label is 1, from where the towers are."""
    spec, clicked = market.model, clicked_rows(market, rows)
    if not clicked.any():
        return
    inputs = {name: column[clicked] for name, column in rows.inputs.items()}
    described = np.concatenate(list(of_group(inputs, "offer").values()), axis=1)
    _, offer, count = np.unique(described, axis=0, return_inverse=True, return_counts=True)
    offer = offer.reshape(-1)  # NumPy 2.0 alone gives it a second axis
    probability = (count / count.sum())[offer].astype(np.float32)
    towers.fit(
        batches((inputs, offer.astype(np.int64), probability), spec, shuffle=True),
        epochs=epochs,
        verbose=0,
        callbacks=[_Reporter("two towers", int(clicked.sum()), epochs, spec.batch_size, report)],
    )


def clicked_rows(market: Market, rows: Rows) -> NDArray[np.bool_]:
    """[N], rows that count for the first task and whose label is 1."""
    first = market.tasks[0]
    clicked: NDArray[np.bool_] = rows.labels[first.label] * rows.weights.get(first.name, np.ones(len(rows), np.float32)) > 0
    return clicked


def _first(inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """One row, which is enough for a network to make its weights."""
    return {name: column[:1] for name, column in inputs.items()}


def batches(columns: Any, spec: ModelSpec, *, shuffle: bool) -> Any:
    """Batches by gathering from whole columns: shuffles row numbers, once an epoch, and not rows."""
    tensors = tf.nest.map_structure(tensor, columns)
    rows = int(tf.nest.flatten(tensors)[0].shape[0])
    size = spec.batch_size if shuffle else 8 * spec.batch_size
    steps = -(-rows // size)

    def epoch(seed: Any) -> Any:
        order = tf.range(rows)
        if shuffle:
            order = tf.random.experimental.stateless_shuffle(order, seed=tf.stack([seed, 0]))

        def batch(step: Any) -> Any:
            chosen = order[step * size : (step + 1) * size]
            return tf.nest.map_structure(lambda t: tf.gather(t, chosen), tensors)

        return tf.data.Dataset.range(steps).map(batch)

    seeds = tf.data.Dataset.random(seed=spec.seed, rerandomize_each_iteration=True).take(1)
    return seeds.flat_map(epoch).apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2)


class _Recorder(keras.callbacks.Callback):
    """Keeps each epoch's losses."""

    def __init__(self, tasks: tuple[TaskSpec, ...]) -> None:
        super().__init__()
        self.epochs: list[Epoch] = []
        self._tasks, self._began = tasks, 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the clock."""
        del epoch, logs
        self._began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """After the validation."""
        got = logs or {}
        train = sum(float(got[f"{t.name}_loss"]) for t in self._tasks)
        valid = {t.name: float(got[f"val_{t.name}_loss"]) for t in self._tasks}
        seconds = time.monotonic() - self._began
        self.epochs.append(Epoch(epoch=epoch + 1, seconds=seconds, train_loss=train, valid_loss=valid))


class _Reporter(keras.callbacks.Callback):
    """Turns Keras's callbacks into `FitProgress`, a few times per second."""

    def __init__(self, model: str, rows: int, epochs: int, batch_size: int, report: Report) -> None:
        super().__init__()
        self._name, self._rows, self._epochs, self._batch_size, self._report = model, rows, epochs, batch_size, report
        self._epoch, self._reported, self._loss, self._pace = 0, 0.0, float("nan"), Pace()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Counts them."""
        del logs
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Reports now and then."""
        self._loss = _loss(logs or {})
        rows = min((batch + 1) * self._batch_size, self._rows)
        self._pace.batch_ended(rows, time.monotonic())
        if time.monotonic() - self._reported >= REPORT_EVERY_S:
            self._tell(rows)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Reports every finished epoch."""
        del epoch, logs
        self._tell(self._rows)

    def _tell(self, rows: int) -> None:
        self._reported = time.monotonic()
        rate = self._pace.rows_per_s
        self._report(FitProgress(self._name, self._epoch, self._epochs, rows, self._rows, rate, self._loss))


def _loss(logs: dict[str, float]) -> float:
    """Sum of the tasks' losses, means over the epoch so far; of a model without tasks the last batch's loss."""
    tasks = [v for name, v in logs.items() if name.endswith("_loss") and name not in ("regularization_loss", "total_loss")]
    return float(sum(tasks)) if tasks else float(logs.get("loss", float("nan")))
