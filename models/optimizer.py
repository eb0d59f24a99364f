"""Adam for tables of which a batch touches few rows: a step costs what its batch costs, whatever the size of the table.

    m_r <- b1 m_r + (1 - b1) g_r        v_r <- b2 v_r + (1 - b2) g_r^2        for the rows r that the batch touches
    w_r <- w_r - lr sqrt(1 - b2^t) / (1 - b1^t) m_r / (sqrt(v_r) + eps)

g_r sums the gradients of a row that the batch has more than once. Other rows, and their moments, stay as they are, where Adam
decays and moves every row at every step. What is no table is fitted by Adam itself, and so is in effect a table of which each
batch touches all rows.

t counts the steps of the network, not those of the row. Corrected by its own count a row would move by lr at its first touches;
Adam, which goes on moving it in the direction of a gradient that it saw once, moves it by up to 30 lr; with the common count it
is 3 to 6 lr, so that rare entries learn nearly as they did, and no third moment is kept for each row.

Source: LazyAdam of TensorFlow Addons and SparseAdam of PyTorch, on Kingma and Ba (2015).
"""

from typing import Any

from models.legacy_keras import keras, tf


class LazyAdam(keras.optimizers.Adam):
    """Keras' Adam but for gradients of tables; with `fit` as any optimizer."""

    def update_step(self, gradient: Any, variable: Any) -> None:
        """Keras' hook; it has summed the gradients of equal rows."""
        if not isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable)
            return
        rows, g = gradient.indices, gradient.values
        slots = self.moments(variable)
        m, v = (tf.gather(slots[name], rows) for name in ("m", "v"))
        # In the order that Adam has, so that not even the rounding differs where a batch touches every row.
        m = m - m * (1 - self.beta_1) + g * (1 - self.beta_1)
        v = v - v * (1 - self.beta_2) + tf.square(g) * (1 - self.beta_2)
        step = tf.cast(self.iterations + 1, variable.dtype)
        lr = tf.cast(self.learning_rate, variable.dtype)
        lr = lr * tf.sqrt(1 - tf.pow(self.beta_2, step)) / (1 - tf.pow(self.beta_1, step))
        slots["m"].scatter_update(tf.IndexedSlices(m, rows))
        slots["v"].scatter_update(tf.IndexedSlices(v, rows))
        variable.scatter_sub(tf.IndexedSlices(m * lr / (tf.sqrt(v) + self.epsilon), rows))

    def moments(self, variable: Any) -> dict[str, Any]:
        """`m` and `v` of a variable that it was built for, each of the variable's shape."""
        at = self._index_dict[self._var_key(variable)]
        return {"m": self._momentums[at], "v": self._velocities[at]}
