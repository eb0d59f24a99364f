"""From what tasks share to what each has of its own: x [N, D] -> one representation [N, U_t] per task.

    separate   its own trunk over the shared embeddings (ESMM's towers)
    mmoe       its own mixture of shared experts on one trunk; of one expert, a shared bottom

Gates see the trunk's output and, directly, the embeddings of `gate_features`, such as an offer's format.

Sources: Caruana (1997), shared bottom; Ma et al. (2018), MMoE and ESMM.
"""

from typing import Any

from features.model_spec import ModelSpec
from models.legacy_keras import keras, tf
from models.trunk import Trunk, dense

TRUNK_SALT = 1000  # keeps the seeds of separate trunks apart


class Experts(keras.layers.Layer):
    """[N, D] -> [N, E, U]: E one-layer networks in one matrix product."""

    def __init__(self, spec: ModelSpec, salt: int, name: str) -> None:
        super().__init__(name=name)
        self._shape = (spec.experts, spec.expert_units)
        self._layer = dense(spec.experts * spec.expert_units, spec, salt=salt, activation="relu")

    def call(self, x: Any) -> Any:
        """All experts' outputs."""
        return tf.reshape(self._layer(x), [-1, *self._shape])


class Gate(keras.layers.Layer):
    """Mixes experts [N, E, U] by what it sees [N, G] into [N, U]."""

    def __init__(self, experts: int, spec: ModelSpec, salt: int, name: str) -> None:
        super().__init__(name=name)
        self._weights = dense(experts, spec, salt=salt, activation="softmax")

    def call(self, seen: Any, experts: Any) -> Any:
        """The mean of the experts under the gate's weights."""
        return tf.einsum("ne,neu->nu", self._weights(seen), experts)


class MultiGateExperts(keras.layers.Layer):
    """MMoE."""

    def __init__(self, tasks: int, spec: ModelSpec) -> None:
        super().__init__(name="mmoe")
        self._experts = Experts(spec, salt=101, name="experts")
        self._gates = [Gate(spec.experts, spec, salt=111 + t, name=f"gate_{t}") for t in range(tasks)]

    def call(self, x: Any, extra: Any) -> list[Any]:
        """One mixture per task; `extra` [N, G] is seen by the gates alone."""
        experts, seen = self._experts(x), tf.concat([x, extra], axis=1)
        return [gate(seen, experts) for gate in self._gates]


class TaskTowers(keras.layers.Layer):
    """Trunk, what lies between it and the tasks, and a layer of each task's own: [N, D] -> T x [N, U]."""

    def __init__(self, tasks: int, spec: ModelSpec) -> None:
        super().__init__(name="towers")
        several = tasks > 1
        separate = several and spec.head == "separate"
        self._trunks = [Trunk(spec, salt=TRUNK_SALT * t) for t in range(tasks if separate else 1)]
        self._mixture = MultiGateExperts(tasks, spec) if several and spec.head == "mmoe" else None
        self._layers = [dense(spec.expert_units, spec, salt=51 + t, activation="relu") for t in range(tasks)] if several else []

    def call(self, x: Any, extra: Any, training: bool = False) -> list[Any]:
        """One representation per task; a single task's is the trunk's output."""
        trunks = [trunk(x, training=training) for trunk in self._trunks]
        if not self._layers:
            return trunks
        own = self._mixture(trunks[0], extra) if self._mixture is not None else trunks
        return [layer(x) for layer, x in zip(self._layers, own, strict=True)]
