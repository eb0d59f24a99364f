"""Two towers: a request and an offer each become a unit vector; their inner product says how well they fit.

Trained on rows with a positive first label, against the other offers of the batch. An offer enters a batch as often as it is
clicked, so its logit is corrected for that:

    s_ij = <q_i, o_j> / temperature - log P(o_j)

Sources: Yi et al. (2019), Sampling-bias-corrected neural modeling; Covington et al. (2016).
"""

from typing import Any

from features.model_spec import ModelSpec
from models.embedding import GroupEmbedding, of_group
from models.legacy_keras import keras, tf, tfrs
from models.preprocessing import Encoding, Group
from models.ranker import Inputs
from models.trunk import dense


class Tower(keras.layers.Layer):
    """A group of features -> unit vectors [N, D]."""

    def __init__(self, group: Group, spec: ModelSpec, name: str, salt: int) -> None:
        super().__init__(name=name)
        self._embedding = GroupEmbedding(group, spec, f"{name}_features")
        self._hidden = dense(4 * spec.tower_dim, spec, salt=salt, activation="relu")
        self._out = dense(spec.tower_dim, spec, salt=salt + 1)

    def call(self, ids: Any, numbers: Any, bag_ids: Any = None, bag_weights: Any = None, training: bool = False) -> Any:
        """Embeds one batch, as `Group.pack` has it."""
        x = self._embedding(ids, numbers, bag_ids, bag_weights, training=training)
        return tf.math.l2_normalize(self._out(self._hidden(x)), axis=1, epsilon=1e-12)


class TwoTower(tfrs.models.Model):
    """Trained on (inputs, offer number [N], P(offer) [N]), where equal offers have equal numbers."""

    def __init__(self, encoding: Encoding, spec: ModelSpec) -> None:
        super().__init__(name="two_tower")
        self.query = Tower(encoding.request, spec, "query", salt=71)
        self.offer = Tower(encoding.offer, spec, "offer", salt=81)
        self._task = tfrs.tasks.Retrieval(temperature=spec.tower_temperature, remove_accidental_hits=True)

    def compute_loss(self, inputs: tuple[Inputs, Any, Any], training: bool = False) -> Any:
        """Mean softmax cross entropy over the batch's offers; equal offers are no negatives of each other."""
        features, offer, probability = inputs
        total = self._task(
            self.query(**of_group(features, "request"), training=training),
            self.offer(**of_group(features, "offer"), training=training),
            candidate_sampling_probability=probability,
            candidate_ids=offer,
            compute_metrics=False,
            compute_batch_metrics=False,
        )
        return total / tf.cast(tf.shape(offer)[0], tf.float32)
