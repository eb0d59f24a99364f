"""What a conversion is worth, E(value | conversion): a network of its own over the ranker's inputs, learned from conversions.

    v = m exp(z),   z = L tanh(w . trunk(x) / L),   m the mean of the values it was first fitted on,   L = log 1000

fitted by the deviance of a Tweedie distribution of power 3/2 (a sum of a random number of gamma amounts: skewed, with a share of
exact zeros, such as returned orders). Its derivative is (v - y) / v^(3/2), so that v is the mean of the values whatever their
distribution. docs/adr/0013-values-by-tweedie.md has the reasons.

Source: Jorgensen (1987), Exponential dispersion models; Dunn and Smyth (2005).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.market import Market
from features.model_spec import ModelSpec
from models.embedding import GroupEmbedding, of_group
from models.fit import Start, batches
from models.legacy_keras import keras, tf, tfrs
from models.optimizer import LazyAdam
from models.preprocessing import Encoding
from models.progress import FitProgress, Report
from models.ranker import Inputs
from models.trunk import Trunk, dense

MOST_LOG = float(np.log(1000))
"""No value is predicted to be more than a thousand times the mean, or less than a thousandth of it."""
SALT = 3000  # keeps its seeds from those of the ranker
LEAST_STEPS = 50
"""Steps of an epoch, where there are rows enough: conversions are few, and the ranker's batches would hold all of them."""
LEAST_BATCH = 16
SCORED_AT_ONCE = 16_384


@dataclass(frozen=True, slots=True)
class Sold:
    """Conversions whose value is known."""

    inputs: dict[str, NDArray[Any]]
    micros: NDArray[np.int64]
    """[N], 0 or more."""

    def __len__(self) -> int:
        return len(self.micros)


def tweedie_loss(y: Any, log_v: Any) -> Any:
    """[N], half of the unit deviance of power 3/2, less what depends on y alone.

        y^(1-p) / ((1-p)(2-p)) - y v^(1-p) / (1-p) + v^(2-p) / (2-p)  at p = 3/2:   2 y / sqrt(v) + 2 sqrt(v)

    Args:
      y: [N], observed, 0 or more.
      log_v: [N], of what is predicted.
    """
    return 2 * y * tf.exp(-log_v / 2) + 2 * tf.exp(log_v / 2)


class ValueNetwork(tfrs.models.Model):
    """Trained on (inputs, value in units of the mean [N])."""

    def __init__(self, encoding: Encoding, spec: ModelSpec) -> None:
        super().__init__(name="value")
        self._embeddings = {side: GroupEmbedding(group, spec, f"value_{side}") for side, group in encoding.groups.items()}
        self._trunk = Trunk(spec, salt=SALT)
        self._output = dense(1, spec, salt=SALT + 61)
        self.log_mean = tf.Variable(0.0, trainable=False, name="log_mean")
        """Of the micros of the values that it was first fitted on."""
        self._deviance = keras.metrics.Mean(name="tweedie")

    def call(self, inputs: Inputs, training: bool = False) -> Any:
        """[N], the logarithm of the value in units of the mean."""
        embedded = [layer(**of_group(inputs, side), training=training) for side, layer in self._embeddings.items()]
        rows = tf.reduce_max(tf.stack([tf.shape(x)[0] for x in embedded]))
        x = tf.concat([tf.broadcast_to(x, [rows, x.shape[1]]) for x in embedded], axis=1)
        z = self._output(self._trunk(x, training=training))[:, 0]
        return MOST_LOG * tf.tanh(z / MOST_LOG)

    def micros(self, inputs: Inputs) -> Any:
        """[N] float32."""
        return tf.exp(self.log_mean + self(inputs, training=False))

    def compute_loss(self, inputs: tuple[Inputs, Any], training: bool = False) -> Any:
        """Mean over the rows."""
        features, y = inputs
        losses = tweedie_loss(y, self(features, training=training))
        self._deviance.update_state(losses)
        return tf.reduce_mean(losses)


def fit_value(market: Market, encoding: Encoding, train: Sold, valid: Sold, report: Report) -> ValueNetwork:
    """Fits anew, for as many epochs as the loss on `valid` falls; one, where there is nothing to see that by."""
    spec = market.model
    network = resume_value(market, encoding, train.inputs, None)
    network.log_mean.assign(np.float32(np.log(max(train.micros.mean(), 1.0))))
    options: dict[str, Any] = {"epochs": 1}
    if len(valid):
        stop = keras.callbacks.EarlyStopping("val_tweedie", mode="min", patience=spec.patience, restore_best_weights=True)
        judge = batches(_columns(network, valid), spec, shuffle=False)
        options = {"epochs": spec.epochs, "validation_data": judge, "callbacks": [stop]}
    seen = network.fit(batches(_columns(network, train), _batched(spec, len(train)), shuffle=True), verbose=0, **options)
    losses = seen.history["tweedie"]
    report(FitProgress("value", len(losses), options["epochs"], len(train), len(train), None, float(losses[-1])))
    return network


def resume_value(market: Market, encoding: Encoding, inputs: dict[str, NDArray[Any]], start: Start | None) -> ValueNetwork:
    """Compiled, with its initial weights or as `start` sets them; `inputs` only build it."""
    keras.utils.set_random_seed(market.model.seed)
    network = ValueNetwork(encoding, market.model)
    network({name: column[:1] for name, column in inputs.items()})
    network.compile(optimizer=LazyAdam(market.model.learning_rate), weighted_metrics=[])
    if start is not None:
        start(network)
    return network


def learn_values(market: Market, network: ValueNetwork, rows: Sold) -> None:
    """One pass, from where the network and its optimizer are; nothing where there is no conversion."""
    if len(rows):
        network.fit(batches(_columns(network, rows), _batched(market.model, len(rows)), shuffle=True), epochs=1, verbose=0)


def value_micros(network: ValueNetwork, inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    """[N], what each row's conversion would be worth."""
    rows = len(inputs["request_ids"])
    starts = range(0, rows, SCORED_AT_ONCE)
    parts = [network.micros({name: x[i : i + SCORED_AT_ONCE] for name, x in inputs.items()}).numpy() for i in starts]
    return np.concatenate([np.zeros(0, np.float32), *parts])


def _columns(network: ValueNetwork, rows: Sold) -> tuple[Any, NDArray[np.float32]]:
    return rows.inputs, (rows.micros / np.exp(float(network.log_mean.numpy()))).astype(np.float32)


def _batched(spec: ModelSpec, rows: int) -> ModelSpec:
    return spec.model_copy(update={"batch_size": min(max(rows // LEAST_STEPS, LEAST_BATCH), spec.batch_size)})
