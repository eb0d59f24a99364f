"""What all tasks share between the embeddings and the heads: cross layers and deep layers, stacked or parallel.

    full rank   x_{l+1} = x_0 * (W x_l + b) + x_l
    low rank    W = U V, of rank `projection_dim`
    mixture     x_{l+1} = sum_i g_i(x_l) x_0 * (U_i tanh(C_i tanh(V_i x_l)) + b) + x_l

Source: Wang et al. (2021), DCN V2.
"""

from typing import Any

from features.model_spec import ModelSpec
from models.legacy_keras import keras, tf, tfrs

CROSS_STDDEV = 0.05


class CrossMixture(keras.layers.Layer):
    """Low-rank cross layers mixed by a gate: (x_0, x) [N, D] -> [N, D]."""

    def __init__(self, spec: ModelSpec, salt: int) -> None:
        super().__init__()
        self._experts, self._rank, self._l2 = spec.cross_experts, int(spec.projection_dim or 1), spec.l2
        self._initial = keras.initializers.TruncatedNormal(stddev=CROSS_STDDEV, seed=spec.seed + salt)
        self._gate = dense(spec.cross_experts, spec, salt=salt + 500, activation="softmax")

    def build(self, shape: Any) -> None:
        """Makes V [E, D, R], C [E, R, R], U [E, R, D] and b [D]."""
        width = int(shape[-1])

        def weight(name: str, *of: int) -> Any:
            return self.add_weight(
                name, (self._experts, *of), initializer=self._initial, regularizer=keras.regularizers.L2(self._l2)
            )

        self._v, self._c = weight("v", width, self._rank), weight("c", self._rank, self._rank)
        self._u = weight("u", self._rank, width)
        self._b = self.add_weight("b", (width,), initializer="zeros")

    def call(self, x0: Any, x: Any) -> Any:
        """One layer."""
        narrow = tf.tanh(tf.einsum("nd,edr->ner", x, self._v))
        narrow = tf.tanh(tf.einsum("ner,ers->nes", narrow, self._c))
        mixed = tf.einsum("ne,ner,erd->nd", self._gate(x), narrow, self._u)
        return x0 * (mixed + self._b) + x


class Trunk(keras.layers.Layer):
    """x [N, D] -> [N, U]."""

    def __init__(self, spec: ModelSpec, salt: int = 0) -> None:
        super().__init__(name=f"trunk_{salt}")
        self._parallel = spec.structure == "parallel"
        self._cross = [_cross(spec, salt=salt + 11 + i) for i in range(spec.cross_layers)]
        self._deep = [dense(units, spec, salt=salt + 21 + i, activation="relu") for i, units in enumerate(spec.hidden_units)]
        self._dropout = [keras.layers.Dropout(spec.dropout, seed=spec.seed + salt + 31 + i) for i in range(len(self._deep))]

    def call(self, x: Any, training: bool = False) -> Any:
        """Crosses, then the deep layers on top of them or beside them."""
        crossed = x
        for layer in self._cross:
            crossed = layer(x, crossed)
        deep = x if self._parallel else crossed
        for layer, dropout in zip(self._deep, self._dropout, strict=True):
            deep = dropout(layer(deep), training=training)
        return tf.concat([crossed, deep], axis=1) if self._parallel else deep


def dense(units: int, spec: ModelSpec, salt: int, **options: Any) -> Any:
    """A Dense layer with the spec's L2 and a seed of its own."""
    return keras.layers.Dense(
        units,
        kernel_initializer=keras.initializers.GlorotUniform(seed=spec.seed + salt),
        kernel_regularizer=keras.regularizers.L2(spec.l2),
        **options,
    )


def _cross(spec: ModelSpec, salt: int) -> Any:
    if spec.cross_experts > 1:
        return CrossMixture(spec, salt)
    return tfrs.layers.dcn.Cross(
        projection_dim=spec.projection_dim,
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=CROSS_STDDEV, seed=spec.seed + salt),
        kernel_regularizer=keras.regularizers.L2(spec.l2),
    )
