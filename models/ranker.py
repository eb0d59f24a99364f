"""The ranking network: DCN-V2 under one head, or under MMoE heads where there are several tasks.

    x       = [embedded ids, numbers] of the request, repeated for each offer, beside those of the offer
    stacked:  trunk = deep(cross(x))
    parallel: trunk = [cross(x), deep(x)]
    head:     logit_t = w_t . trunk, or w_t . relu(W_t sum_e gate_te(trunk) expert_e(trunk))

Sources: Wang et al. (2021), DCN V2; Ma et al. (2018), MMoE.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.model_spec import ModelSpec
from models.embedding import GroupEmbedding, of_group
from models.legacy_keras import keras, tf, tfrs
from models.losses import weighted_log_loss
from models.preprocessing import Encoding

Inputs = dict[str, Any]
"""`request_ids` [1 or N, F], `request_numbers` [1 or N, K] and what else `Group.pack` makes, for all `Encoding.groups`."""


class MultiGateExperts(keras.layers.Layer):
    """MMoE: [N, D] -> [N, T, U], each task's own mixture of E shared experts."""

    def __init__(self, tasks: int, spec: ModelSpec) -> None:
        super().__init__(name="experts")
        self._shape = (spec.experts, spec.expert_units)
        self._experts = dense(spec.experts * spec.expert_units, spec, salt=101, activation="relu")
        self._gates = [dense(spec.experts, spec, salt=111 + t, activation="softmax") for t in range(tasks)]

    def call(self, x: Any) -> Any:
        """Mixes the experts for each task."""
        experts = tf.reshape(self._experts(x), [-1, *self._shape])
        gates = tf.stack([gate(x) for gate in self._gates], axis=1)
        return tf.einsum("nte,neu->ntu", gates, experts)


class Ranker(tfrs.models.Model):
    """Logits [N, T] of all tasks; trained on (inputs, labels [N, T], weights [N, T])."""

    def __init__(self, encoding: Encoding, tasks: tuple[str, ...], spec: ModelSpec, base_rates: NDArray[np.float64]) -> None:
        super().__init__(name="ranker")
        self._tasks = tasks
        self._parallel = spec.structure == "parallel"
        self._embeddings = {side: GroupEmbedding(group, spec, side) for side, group in encoding.groups.items()}
        self._cross = [
            tfrs.layers.dcn.Cross(
                projection_dim=spec.projection_dim,
                kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.05, seed=spec.seed + 11 + i),
                kernel_regularizer=keras.regularizers.L2(spec.l2),
            )
            for i in range(spec.cross_layers)
        ]
        self._deep = [dense(units, spec, salt=21 + i, activation="relu") for i, units in enumerate(spec.hidden_units)]
        self._dropout = [keras.layers.Dropout(spec.dropout, seed=spec.seed + 31 + i) for i in range(len(self._deep))]
        self._input_dropout = keras.layers.Dropout(spec.input_dropout, seed=spec.seed + 41)
        self._experts = MultiGateExperts(len(tasks), spec) if len(tasks) > 1 else None
        self._towers = [dense(spec.expert_units, spec, salt=51 + t, activation="relu") for t in range(len(tasks))]
        # Starting at the base rate spares the first steps, and keeps rare tasks from blowing up.
        logits = np.log(base_rates) - np.log1p(-base_rates)
        self._heads = [
            dense(1, spec, salt=61 + t, bias_initializer=keras.initializers.Constant(float(logits[t]))) for t in range(len(tasks))
        ]
        self._task_losses = [keras.metrics.Mean(name=f"{task}_loss") for task in tasks]

    def call(self, inputs: Inputs, training: bool = False) -> Any:
        """Logits [N, T]; a request of one row is repeated for every offer, after its embedding."""
        embedded = [layer(**of_group(inputs, side)) for side, layer in self._embeddings.items()]
        rows = tf.reduce_max(tf.stack([tf.shape(x)[0] for x in embedded]))
        x = tf.concat([_repeat(x, rows) for x in embedded], axis=1)
        x = self._input_dropout(x, training=training)
        crossed = x
        for layer in self._cross:
            crossed = layer(x, crossed)
        deep = x if self._parallel else crossed
        for layer, dropout in zip(self._deep, self._dropout, strict=True):
            deep = dropout(layer(deep), training=training)
        trunk = tf.concat([crossed, deep], axis=1) if self._parallel else deep
        if self._experts is None:
            return self._heads[0](trunk)
        mixed = tf.unstack(self._experts(trunk), num=len(self._tasks), axis=1)
        towers = [tower(x) for tower, x in zip(self._towers, mixed, strict=True)]
        return tf.concat([head(x) for head, x in zip(self._heads, towers, strict=True)], axis=1)

    def compute_loss(self, inputs: tuple[Inputs, Any, Any], training: bool = False) -> Any:
        """Sum of the tasks' losses."""
        features, labels, weights = inputs
        losses = weighted_log_loss(labels, self(features, training=training), weights)
        for i, metric in enumerate(self._task_losses):
            metric.update_state(losses[i], sample_weight=tf.shape(labels)[0])
        return tf.reduce_sum(losses)


def dense(units: int, spec: ModelSpec, salt: int, **options: Any) -> Any:
    """A Dense layer with the spec's L2 and a seed of its own."""
    return keras.layers.Dense(
        units,
        kernel_initializer=keras.initializers.GlorotUniform(seed=spec.seed + salt),
        kernel_regularizer=keras.regularizers.L2(spec.l2),
        **options,
    )


def _repeat(x: Any, rows: Any) -> Any:
    """[1, D] or [N, D] -> [N, D]."""
    return tf.broadcast_to(x, [rows, x.shape[1]])
