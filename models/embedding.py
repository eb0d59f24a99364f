"""Ids and numbers of a row become the network's input.

    x = [e(id) of each id column, sum w_i e(id_i) / sum w_i of each bag, numbers],  e(id) = table[id + offset of the column]

Unseen values: an id that training never meets would keep its random embedding. So while training, some ids give way to one
that an unseen value would get, which thereby learns what is true on average, and leaves it to the other features to say more.

Source: Volkovs et al. (2017), DropoutNet: addressing cold start in recommender systems.
"""

from typing import Any

import numpy as np

from features.model_spec import ModelSpec
from models.legacy_keras import keras, tf
from models.preprocessing import Group


def of_group(inputs: dict[str, Any], side: str) -> dict[str, Any]:
    """The tensors of one of `Encoding.groups` among the network's inputs, named as `Group.pack` does."""
    return {name.removeprefix(f"{side}_"): x for name, x in inputs.items() if name.startswith(f"{side}_")}


class GroupEmbedding(keras.layers.Layer):
    """Ids [N, F], numbers [N, K] and B bags -> [N, (F + B) D + K], from one table for all features: one gather, not F."""

    def __init__(self, group: Group, spec: ModelSpec, name: str) -> None:
        super().__init__(name=name)
        self.group = group
        sizes = [size for _, size in group.ranges]
        offsets = np.cumsum([0, *sizes])[:-1].astype(np.int32)
        self._offsets = offsets[: len(group.ids)]
        self._bag_widths = [width for _, _, width in group.bags]
        self._bag_offsets = np.repeat(offsets[len(group.ids) :], self._bag_widths)
        self._width = len(sizes) * spec.embedding_dim
        self._table = keras.layers.Embedding(
            max(sum(sizes), 1),
            spec.embedding_dim,
            embeddings_initializer=keras.initializers.RandomUniform(-0.05, 0.05, seed=spec.seed),
        )
        self._l2 = spec.embedding_l2
        self._unseen = [group.unseen.get(name) for name, _ in group.ids]
        self._seed = spec.seed

    def call(self, ids: Any, numbers: Any, bag_ids: Any = None, bag_weights: Any = None, training: bool = False) -> Any:
        """Embeds one batch, as `Group.pack` has it."""
        if training and any(self._unseen):
            ids = self._drop_ids(ids)
        rows = self._table(ids + self._offsets)
        if bag_ids is not None:
            rows = tf.concat([rows, *self._bag_means(bag_ids, bag_weights)], axis=1)
        if self._l2:
            self.add_loss(self._l2 * tf.reduce_mean(tf.reduce_sum(tf.square(rows), axis=[1, 2])))
        return tf.concat([tf.reshape(rows, [tf.shape(ids)[0], self._width]), numbers], axis=1)

    def _bag_means(self, ids: Any, weights: Any) -> list[Any]:
        """[N, 1, D] each; 0 where a bag is empty."""
        weighted = self._table(ids + self._bag_offsets) * weights[:, :, None]
        sums = [tf.reduce_sum(x, axis=1, keepdims=True) for x in tf.split(weighted, self._bag_widths, axis=1)]
        totals = [tf.reduce_sum(w, axis=1)[:, None, None] for w in tf.split(weights, self._bag_widths, axis=1)]
        return [tf.math.divide_no_nan(x, total) for x, total in zip(sums, totals, strict=True)]

    def _drop_ids(self, ids: Any) -> Any:
        rate = np.array([u.dropout if u else 0.0 for u in self._unseen], np.float32)
        first = np.array([u.first if u else 0 for u in self._unseen], np.int32)
        count = np.array([u.count if u else 1 for u in self._unseen], np.float32)
        dropped, which = tf.unstack(tf.random.uniform(tf.concat([[2], tf.shape(ids)], 0), seed=self._seed))
        return tf.where(dropped < rate, first + tf.cast(which * count, tf.int32), ids)
