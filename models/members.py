"""An ensemble within one network: members share all weights but the scale of what they read, and their outputs.

    x_i = r_i * x        r_i of random signs, learned from there on
    z_i = v_i . h(x_i) + c_i

As rows of the one network, [N k, D], members pass through whatever lies between. The loss is the mean of theirs, and so is the
probability that is served: each is fitted to the labels by itself, while the shared weights must suit all of them.

Source: Gorishniy et al. (2025), TabM: advancing tabular deep learning with parameter-efficient ensembling (TabM-mini); on
Wen et al. (2020), BatchEnsemble.
"""

from typing import Any

import numpy as np

from features.model_spec import ModelSpec
from models.legacy_keras import keras, tf


class MemberInputs(keras.layers.Layer):
    """[N, D] -> [N k, D], the members of a row side by side."""

    def __init__(self, members: int, seed: int) -> None:
        super().__init__(name="member_inputs")
        self._members, self._seed = members, seed

    def build(self, shape: Any) -> None:
        """Random signs: members begin with as little in common as the shared weights allow."""
        signs = np.random.default_rng(self._seed).choice([-1.0, 1.0], (self._members, int(shape[-1])))
        self._scale = self.add_weight("scale", signs.shape, initializer=keras.initializers.Constant(signs))

    def call(self, x: Any) -> Any:
        """Each member's."""
        return tf.reshape(x[:, None, :] * self._scale, [-1, x.shape[1]])


class MemberOutputs(keras.layers.Layer):
    """[N k, U] -> logits [N, k]."""

    def __init__(self, members: int, bias: float, spec: ModelSpec, salt: int) -> None:
        super().__init__(name=f"member_outputs_{salt}")
        self._members, self._first, self._seed = members, bias, spec.seed + salt
        # The loss is the mean over members: each weighs as a k-th of itself, and so does what holds it back.
        self._l2 = spec.l2 / members

    def build(self, shape: Any) -> None:
        """A kernel [k, U] as if each member had a Dense layer, and biases at the base rate."""
        units = int(shape[-1])
        limit = float(np.sqrt(6 / (units + 1)))  # Glorot's, of one output
        self._kernel = self.add_weight(
            "kernel",
            (self._members, units),
            initializer=keras.initializers.RandomUniform(-limit, limit, seed=self._seed),
            regularizer=keras.regularizers.L2(self._l2),
        )
        self._bias = self.add_weight("bias", (self._members,), initializer=keras.initializers.Constant(self._first))

    def call(self, x: Any) -> Any:
        """Each member's."""
        by_member = tf.reshape(x, [-1, self._members, x.shape[1]])
        return tf.reduce_sum(by_member * self._kernel, axis=2) + self._bias
