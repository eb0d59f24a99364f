"""The ranking network: DCN-V2 under the heads of one or several tasks, as one network or as several that share their weights.

    x      = [embedded ids, numbers] of the request, repeated for each offer, beside those of the offer
    x_k    = r_k * x                              for each member k; all else is shared but the last layer
    logit  = w_tk . tower_t(trunk(x_k)) + b_tk    for each task t

The mean of the members' probabilities is served. Members see the same batches; that their losses are apart keeps them diverse.

Sources: Wang et al. (2021), DCN V2; Gorishniy et al. (2025), TabM (the variant with one adapter).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.model_spec import ModelSpec, TaskSpec
from models.bias import Examination
from models.heads import TaskTowers
from models.legacy_keras import keras, tf, tfrs
from models.losses import TaskWeighting, member_log_loss
from models.preprocessing import Encoding, Group

Inputs = dict[str, Any]
"""`request_ids` [1 or N, F], `request_numbers` [1 or N, K], and the same for `offer`."""


class GroupEmbedding(keras.layers.Layer):
    """Ids [N, F] and numbers [N, K] -> [N, F D + K], from one table for all features: one gather, not F."""

    def __init__(self, group: Group, spec: ModelSpec, name: str) -> None:
        super().__init__(name=name)
        sizes = [size for _, size in group.ids]
        self._offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int32) if sizes else np.zeros(0, np.int32)
        self._width = len(sizes) * spec.embedding_dim
        self._table = keras.layers.Embedding(
            max(sum(sizes), 1),
            spec.embedding_dim,
            embeddings_initializer=keras.initializers.RandomUniform(-0.05, 0.05, seed=spec.seed),
        )
        self._l2 = spec.embedding_l2

    def call(self, ids: Any, numbers: Any) -> Any:
        """Embeds one batch."""
        rows = self._table(ids + self._offsets)
        if self._l2:
            self.add_loss(self._l2 * tf.reduce_mean(tf.reduce_sum(tf.square(rows), axis=[1, 2])))
        return tf.concat([tf.reshape(rows, [tf.shape(ids)[0], self._width]), numbers], axis=1)


class MemberOutputs(keras.layers.Layer):
    """[N, M, U] -> logits [N, M]: a last layer for each member."""

    def __init__(self, members: int, spec: ModelSpec, salt: int, bias: float, name: str) -> None:
        super().__init__(name=name)
        self._members, self._bias, self._l2 = members, bias, spec.l2
        self._initial = keras.initializers.GlorotUniform(seed=spec.seed + salt)

    def build(self, shape: Any) -> None:
        """Starts at the base rate, which spares the first steps and keeps rare tasks from blowing up."""
        self._w = self.add_weight(
            "kernel", (self._members, int(shape[-1])), initializer=self._initial, regularizer=keras.regularizers.L2(self._l2)
        )
        self._b = self.add_weight("bias", (self._members,), initializer=keras.initializers.Constant(self._bias))

    def call(self, x: Any) -> Any:
        """One logit per member."""
        return tf.einsum("nmu,mu->nm", x, self._w) + self._b


class Ranker(tfrs.models.Model):
    """Logits [N, M, T] of all members and tasks; trained on (inputs, positions [N], labels [N, T], weights [N, T]).

    Args:
      positions: slots of a page, for the bias tower.
      base_rates: [T], of the labels where they count.
    """

    def __init__(
        self,
        encoding: Encoding,
        tasks: tuple[TaskSpec, ...],
        spec: ModelSpec,
        base_rates: NDArray[np.float64],
        positions: int = 1,
    ) -> None:
        super().__init__(name="ranker")
        self._tasks, self._members = tasks, spec.members
        self._request = GroupEmbedding(encoding.request, spec, "request")
        self._offer = GroupEmbedding(encoding.offer, spec, "offer")
        self._gate_columns = _columns_of(encoding, spec)
        self._input_dropout = keras.layers.Dropout(spec.input_dropout, seed=spec.seed + 41)
        self._scales = self.add_weight(
            "scales", (spec.members, _width(encoding, spec)), initializer=_signs(spec.seed + 42), trainable=spec.members > 1
        )
        self._towers = TaskTowers(len(tasks), spec)
        logits = np.log(base_rates) - np.log1p(-base_rates)
        self._outputs = [
            MemberOutputs(spec.members, spec, salt=61 + t, bias=float(logits[t]), name=f"output_{task.name}")
            for t, task in enumerate(tasks)
        ]
        bias_features = spec.bias.features if spec.bias else ()
        self._bias_columns = np.array([_position_of(encoding.request, name) for name in bias_features], np.int32)
        self._examination = None
        if spec.bias is not None:
            sizes = tuple(encoding.request.ids[i][1] for i in self._bias_columns)
            self._examination = Examination(spec.bias, positions, sizes, spec.seed + 43)
        self.weighting = TaskWeighting(tasks, spec.loss_weighting)
        self._task_losses = [keras.metrics.Mean(name=f"{task.name}_loss") for task in tasks]

    def call(self, inputs: Inputs, training: bool = False) -> Any:
        """Logits [N, M, T]; a request of one row is repeated for every offer, after its embedding."""
        request = self._request(inputs["request_ids"], inputs["request_numbers"])
        offer = self._offer(inputs["offer_ids"], inputs["offer_numbers"])
        rows = tf.maximum(tf.shape(request)[0], tf.shape(offer)[0])
        x = tf.concat([_repeat(request, rows), _repeat(offer, rows)], axis=1)
        width = x.shape[1]
        x = tf.reshape(x[:, None, :] * self._scales, [-1, width]) if self._members > 1 else x
        extra = tf.gather(x, self._gate_columns, axis=1)
        x = self._input_dropout(x, training=training)
        logits = [
            output(tf.reshape(tower, [-1, self._members, tower.shape[1]]))
            for output, tower in zip(self._outputs, self._towers(x, extra, training=training), strict=True)
        ]
        return tf.stack(logits, axis=2)

    def probabilities(self, inputs: Inputs) -> Any:
        """[N, T], what is served: of a row at the first position, and of a conditional task given its condition."""
        return tf.reduce_mean(tf.sigmoid(self(inputs, training=False)), axis=1)

    def log_examination(self, inputs: Inputs, positions: Any, training: bool = False) -> Any:
        """[N], log P(seen at the position) over that at the first; 0 without a bias tower."""
        if self._examination is None:
            return tf.zeros(tf.shape(positions), tf.float32)
        ids = tf.gather(inputs["request_ids"], self._bias_columns, axis=1)
        return self._examination(positions, ids, training=training)

    def start_examination(self, positions: NDArray[np.int32], clicks: NDArray[np.float32]) -> None:
        """Starts the bias tower, if there is one, at observed click rates; see `Examination.start`."""
        if self._examination is not None:
            self._examination.start(positions, clicks)

    def compute_loss(self, inputs: tuple[Inputs, Any, Any, Any], training: bool = False) -> Any:
        """Weighted sum of the tasks' losses."""
        features, positions, labels, weights = inputs
        logits = self(features, training=training)
        log_e = self.log_examination(features, positions, training=training) if self._examination is not None else None
        losses = member_log_loss(self._tasks, labels, logits, weights, log_e)
        for i, metric in enumerate(self._task_losses):
            metric.update_state(losses[i], sample_weight=tf.shape(labels)[0])
        return self.weighting(losses)


def _width(encoding: Encoding, spec: ModelSpec) -> int:
    return sum(len(g.ids) * spec.embedding_dim + len(g.numbers) for g in (encoding.request, encoding.offer))


def _columns_of(encoding: Encoding, spec: ModelSpec) -> NDArray[np.int32]:
    """Columns of x that hold the embeddings of the features that gates see directly."""
    columns: list[int] = []
    start = 0
    for group in (encoding.request, encoding.offer):
        for i, (name, _) in enumerate(group.ids):
            if name.partition(":")[0] in spec.gate_features:
                columns += range(start + i * spec.embedding_dim, start + (i + 1) * spec.embedding_dim)
        start += len(group.ids) * spec.embedding_dim + len(group.numbers)
    return np.array(columns, np.int32)


def _position_of(group: Group, feature: str) -> int:
    return [name for name, _ in group.ids].index(f"{feature}:id")


def _signs(seed: int) -> Any:
    """1 or -1 at random, as TabM starts its adapters; a single member is all ones."""

    def initial(shape: Any, dtype: Any = None) -> Any:
        members, width = shape
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], (members, width)) if members > 1 else np.ones(shape)
        return tf.constant(signs, dtype or tf.float32)

    return initial


def _repeat(x: Any, rows: Any) -> Any:
    """[1, D] or [N, D] -> [N, D]."""
    return tf.broadcast_to(x, [rows, x.shape[1]])
