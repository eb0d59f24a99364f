"""Position bias: an offer further down is looked at less often, whatever it is worth.

    P(click | x, position, f) = P(click | x) e(position, f),    e(0, f) = 1
    log e(k, f) = a_k + sum_j b_j[k, f_j]                       for k > 0

f are features such as the device. e is learned beside the ranker and stays out of its serving graph: what is served is the
probability at the first position. For a share of the rows, and for rows of unknown position, e is one learned constant, so
that the ranker cannot leave everything to the tower.

Sources: Guo et al. (2019), PAL; Zhao et al. (2019), Recommending what video to watch next (shallow tower, position dropout).
"""

from typing import Any

from features.model_spec import BiasSpec
from models.legacy_keras import keras, tf

UNKNOWN = -1
PACE = 10.0  # Adam moves a weight by the learning rate a step: at 1 the lowest slots would take a thousand
INTERACTION_L2 = 1e-3  # what a device changes about a position must be earned


class Examination(keras.layers.Layer):
    """(positions [N], ids of the bias features [N, J]) -> log e [N].

    Args:
      positions: how many slots a page has; rows further down count as the last one.
      sizes: ids of each bias feature.
    """

    def __init__(self, spec: BiasSpec, positions: int, sizes: tuple[int, ...], seed: int) -> None:
        super().__init__(name="examination")
        self._dropout, self._positions, self._seed = spec.dropout, positions, seed
        self._sizes = sizes

    def build(self, shape: Any) -> None:
        """All zero: looked at everywhere alike."""
        del shape
        self._unknown = self.add_weight("unknown", (), initializer="zeros")
        self._position = self.add_weight("position", (self._positions,), initializer="zeros")
        self._interactions = [
            self.add_weight(
                f"interaction_{j}",
                (self._positions, size),
                initializer="zeros",
                regularizer=keras.regularizers.L2(INTERACTION_L2),
            )
            for j, size in enumerate(self._sizes)
        ]

    def call(self, positions: Any, ids: Any, training: bool = False) -> Any:
        """log e; while training some rows are told nothing of their position."""
        k = tf.clip_by_value(tf.cast(positions, tf.int32), 0, self._positions - 1)
        log_e = PACE * tf.gather(self._position, k)
        for j, table in enumerate(self._interactions):
            log_e += tf.gather_nd(table, tf.stack([k, tf.cast(ids[:, j], tf.int32)], axis=1))
        known = tf.cast(positions, tf.int32) != UNKNOWN
        log_e = tf.where(k > 0, log_e, 0.0)
        if training and self._dropout:
            known &= tf.random.uniform(tf.shape(k), seed=self._seed) >= self._dropout
        return tf.where(known, log_e, PACE * self._unknown)
