"""Ids and numbers of a row become the network's input.

    x = [table[id + offset] for each id column, numbers]

Unseen values: an id that training never meets would keep its random embedding. So while training, some ids give way to one
that an unseen value would get, which thereby learns what is true on average, and leaves it to the other features to say more.

Source: Volkovs et al. (2017), DropoutNet: addressing cold start in recommender systems.
"""

from typing import Any

import numpy as np

from features.model_spec import ModelSpec
from models.legacy_keras import keras, tf
from models.preprocessing import Group


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
        self._unseen = [group.unseen.get(name) for name, _ in group.ids]
        self._seed = spec.seed

    def call(self, ids: Any, numbers: Any, training: bool = False) -> Any:
        """Embeds one batch."""
        if training and any(self._unseen):
            ids = self._drop_ids(ids)
        rows = self._table(ids + self._offsets)
        if self._l2:
            self.add_loss(self._l2 * tf.reduce_mean(tf.reduce_sum(tf.square(rows), axis=[1, 2])))
        return tf.concat([tf.reshape(rows, [tf.shape(ids)[0], self._width]), numbers], axis=1)

    def _drop_ids(self, ids: Any) -> Any:
        rate = np.array([u.dropout if u else 0.0 for u in self._unseen], np.float32)
        first = np.array([u.first if u else 0 for u in self._unseen], np.int32)
        count = np.array([u.count if u else 1 for u in self._unseen], np.float32)
        dropped, which = tf.unstack(tf.random.uniform(tf.concat([[2], tf.shape(ids)], 0), seed=self._seed))
        return tf.where(dropped < rate, first + tf.cast(which * count, tf.int32), ids)
