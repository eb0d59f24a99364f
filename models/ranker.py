"""The ranking network: DCN-V2 under the heads of one or several tasks; and an ensemble of such networks.

    x       = [embedded ids and bags, numbers] of the request, repeated for each offer, beside those of the offer and of both
    logit_t = w_t . tower_t(trunk(x)) + b_t      for each task t

Source: Wang et al. (2021), DCN V2. The parts are in trunk.py, heads.py and bias.py.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.model_spec import ModelSpec, TaskSpec
from models.bias import Examination
from models.embedding import GroupEmbedding, of_group
from models.heads import TaskTowers
from models.legacy_keras import keras, tf, tfrs
from models.losses import task_losses
from models.members import MemberInputs, MemberOutputs
from models.preprocessing import Encoding, Group
from models.trunk import dense

Inputs = dict[str, Any]
"""`request_ids` [1 or N, F], `request_numbers` [1 or N, K] and what else `Group.pack` makes, for all `Encoding.groups`."""


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
        self._embeddings = {side: GroupEmbedding(group, spec, side) for side, group in encoding.groups.items()}
        self._gate_columns = gate_columns(encoding, spec)
        self._input_dropout = keras.layers.Dropout(spec.input_dropout, seed=spec.seed + 41)
        self._towers = TaskTowers(len(tasks), spec)
        # Starting at the base rate spares the first steps, and keeps rare tasks from blowing up.
        logits = np.log(base_rates) - np.log1p(-base_rates)
        self._members = spec.members if spec.ensemble == "shared" else 1
        self._signs = MemberInputs(self._members, spec.seed + 71) if self._members > 1 else None
        self._outputs = [
            MemberOutputs(self._members, float(z), spec, salt=61 + t)
            if self._members > 1
            else dense(1, spec, salt=61 + t, bias_initializer=keras.initializers.Constant(float(z)))
            for t, z in enumerate(logits)
        ]
        bias_features = spec.bias.features if spec.bias else ()
        self._bias_columns = np.array([_position_of(encoding.request, name) for name in bias_features], np.int32)
        self._examination = None
        if spec.bias is not None:
            sizes = tuple(encoding.request.ids[i][1] for i in self._bias_columns)
            self._examination = Examination(spec.bias, positions, sizes, spec.seed + 43)
        self._task_weights = tf.constant([task.weight for task in tasks], tf.float32)
        self._task_losses = [keras.metrics.Mean(name=f"{task.name}_loss") for task in tasks]

    def call(self, inputs: Inputs, training: bool = False) -> Any:
        """Logits [N, k, T] of all members; a request of one row is repeated for every offer, after its embedding."""
        embedded = [layer(**of_group(inputs, side), training=training) for side, layer in self._embeddings.items()]
        rows = tf.reduce_max(tf.stack([tf.shape(x)[0] for x in embedded]))
        x = tf.concat([_repeat(x, rows) for x in embedded], axis=1)
        extra = tf.gather(x, self._gate_columns, axis=1)
        if self._signs is not None:
            x, extra = self._signs(x), self._each(extra)
        x = self._input_dropout(x, training=training)
        towers = self._towers(x, extra, training=training)
        return tf.stack([output(tower) for output, tower in zip(self._outputs, towers, strict=True)], axis=2)

    def probabilities(self, inputs: Inputs) -> Any:
        """[N, T], what is served: of a row at the first position, and of a conditional task given its condition."""
        return tf.reduce_mean(tf.sigmoid(self(inputs, training=False)), axis=1)

    def log_examination(self, inputs: Inputs, positions: Any, training: bool = False) -> Any:
        """[N], log P(seen at the position) over that at the first; 0 without a bias tower."""
        if self._examination is None:
            return tf.zeros(tf.shape(positions), tf.float32)
        ids = tf.gather(inputs["request_ids"], self._bias_columns, axis=1)
        return self._examination(positions, ids, training=training)

    def compute_loss(self, inputs: tuple[Inputs, Any, Any, Any], training: bool = False) -> Any:
        """Weighted sum of the tasks' losses, each the mean of the members'."""
        features, positions, labels, weights = inputs
        logits = tf.reshape(self(features, training=training), [-1, len(self._tasks)])
        log_e = None
        if self._examination is not None:
            log_e = self._each(self.log_examination(features, positions, training=training))
        losses = task_losses(self._tasks, self._each(labels), logits, self._each(weights), log_e)
        for i, metric in enumerate(self._task_losses):
            metric.update_state(losses[i], sample_weight=tf.shape(labels)[0])
        return tf.reduce_sum(self._task_weights * losses)

    def _each(self, x: Any) -> Any:
        """[N, ..] -> [N k, ..], a row for each of its members."""
        return tf.repeat(x, self._members, axis=0) if self._members > 1 else x


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


def gate_columns(encoding: Encoding, spec: ModelSpec) -> NDArray[np.int32]:
    """Columns of x that hold the embeddings of the features that gates see directly."""
    columns: list[int] = []
    start = 0
    for group in encoding.groups.values():
        for i, (name, _) in enumerate(group.ranges):
            if name.partition(":")[0] in spec.gate_features:
                columns += range(start + i * spec.embedding_dim, start + (i + 1) * spec.embedding_dim)
        start += len(group.ranges) * spec.embedding_dim + len(group.numbers)
    return np.array(columns, np.int32)


def _position_of(group: Group, feature: str) -> int:
    return [name for name, _ in group.ids].index(f"{feature}:id")


def _repeat(x: Any, rows: Any) -> Any:
    """[1, D] or [N, D] -> [N, D]."""
    return tf.broadcast_to(x, [rows, x.shape[1]])
