"""The ranking network: DCN-V2 under the heads of one or several tasks; and an ensemble of such networks.

    x       = [embedded ids, numbers] of the request, repeated for each offer, beside those of the offer
    logit_t = w_t . tower_t(trunk(x)) + b_t      for each task t

Source: Wang et al. (2021), DCN V2. The parts are in trunk.py, heads.py and bias.py.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.model_spec import ModelSpec, TaskSpec
from models.bias import Examination
from models.heads import TaskTowers
from models.legacy_keras import keras, tf, tfrs
from models.losses import TaskWeighting, task_losses
from models.preprocessing import Encoding, Group
from models.trunk import dense

Inputs = dict[str, Any]
"""`request_ids` [1 or N, F], `request_numbers` [1 or N, K], and the same for `offer`."""


class GroupEmbedding(keras.layers.Layer):
    """Ids [N, F] and numbers [N, K] -> [N, F D + K], from one table for all features: one gather, not F."""

    def __init__(self, group: Group, spec: ModelSpec, name: str) -> None:
        super().__init__(name=name)
        self.group = group
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


class Ranker(tfrs.models.Model):
    """Logits [N, T] of all tasks; trained on (inputs, positions [N], labels [N, T], weights [N, T]).

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
        name: str = "ranker",
    ) -> None:
        super().__init__(name=name)
        self._tasks = tasks
        self._request = GroupEmbedding(encoding.request, spec, "request")
        self._offer = GroupEmbedding(encoding.offer, spec, "offer")
        self._gate_columns = _columns_of(encoding, spec)
        self._input_dropout = keras.layers.Dropout(spec.input_dropout, seed=spec.seed + 41)
        self._towers = TaskTowers(len(tasks), spec)
        # Starting at the base rate spares the first steps, and keeps rare tasks from blowing up.
        logits = np.log(base_rates) - np.log1p(-base_rates)
        self._outputs = [
            dense(1, spec, salt=61 + t, bias_initializer=keras.initializers.Constant(float(logits[t]))) for t in range(len(tasks))
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
        """Logits [N, T]; a request of one row is repeated for every offer, after its embedding."""
        request = self._request(inputs["request_ids"], inputs["request_numbers"])
        offer = self._offer(inputs["offer_ids"], inputs["offer_numbers"])
        rows = tf.maximum(tf.shape(request)[0], tf.shape(offer)[0])
        x = tf.concat([_repeat(request, rows), _repeat(offer, rows)], axis=1)
        extra = tf.gather(x, self._gate_columns, axis=1)
        x = self._input_dropout(x, training=training)
        towers = self._towers(x, extra, training=training)
        return tf.concat([output(tower) for output, tower in zip(self._outputs, towers, strict=True)], axis=1)

    def probabilities(self, inputs: Inputs) -> Any:
        """[N, T], what is served: of a row at the first position, and of a conditional task given its condition."""
        return tf.sigmoid(self(inputs, training=False))

    def log_examination(self, inputs: Inputs, positions: Any, training: bool = False) -> Any:
        """[N], log P(seen at the position) over that at the first; 0 without a bias tower."""
        if self._examination is None:
            return tf.zeros(tf.shape(positions), tf.float32)
        ids = tf.gather(inputs["request_ids"], self._bias_columns, axis=1)
        return self._examination(positions, ids, training=training)

    def compute_loss(self, inputs: tuple[Inputs, Any, Any, Any], training: bool = False) -> Any:
        """Weighted sum of the tasks' losses."""
        features, positions, labels, weights = inputs
        logits = self(features, training=training)
        log_e = self.log_examination(features, positions, training=training) if self._examination is not None else None
        losses = task_losses(self._tasks, labels, logits, weights, log_e)
        for i, metric in enumerate(self._task_losses):
            metric.update_state(losses[i], sample_weight=tf.shape(labels)[0])
        return self.weighting(losses)


class Ensemble(tf.Module):
    """Rankers that differ by their seed: the mean of their probabilities errs less than each, where data is scarce.

    Source: Lakshminarayanan et al. (2017), Deep ensembles.
    """

    def __init__(self, members: Sequence[Ranker]) -> None:
        super().__init__(name="ensemble")
        self.members = tuple(members)

    def probabilities(self, inputs: Inputs) -> Any:
        """[N, T], what is served."""
        return tf.add_n([m.probabilities(inputs) for m in self.members]) / len(self.members)

    def log_examination(self, inputs: Inputs, positions: Any) -> Any:
        """[N], as `Ranker.log_examination`."""
        return tf.add_n([m.log_examination(inputs, positions) for m in self.members]) / len(self.members)


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


def _repeat(x: Any, rows: Any) -> Any:
    """[1, D] or [N, D] -> [N, D]."""
    return tf.broadcast_to(x, [rows, x.shape[1]])
