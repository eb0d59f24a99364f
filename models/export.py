"""One SavedModel with everything serving and evaluation call, raw features in.

serving_default   all features by name, request ones [1] or [M], offer ones [M] -> one float32 [M] per task; lists have a
                  second dimension, `max_values`, and weights are `<feature>_weights`. Where the market asks for values, also
                  `conversion_value_micros` [M]: what a conversion is worth, if there is one
query             request features [1] -> embedding [1, D]
offers            offer features [N] -> embedding [N, D]
evaluate          all features and the position [N] -> the same with auxiliary tasks, and the examination of the position:
                  P(click) there is that of `ctr` times it
examples          serialized tf.Example [N] -> one float32 [N] per task; for TFMA
"""

from pathlib import Path
from typing import Any

from features.market import Market
from features.spec import VALUE_MICROS, FeatureSpec
from models.legacy_keras import tf
from models.preprocessing import Encoding
from models.ranker import Ensemble
from models.release import EXAMINATION
from models.two_tower import TwoTower
from models.value import ValueNetwork

DTYPES = {"string": tf.string, "int": tf.int64, "float": tf.float32}


class ServedModel(tf.Module):
    """Transform's graph, the ranker and the towers behind the four signatures."""

    def __init__(
        self,
        market: Market,
        encoding: Encoding,
        transform: Any,
        ranker: Ensemble,
        towers: TwoTower,
        value: ValueNetwork | None = None,
    ) -> None:
        super().__init__()
        self._market, self._encoding = market, encoding
        self._transform, self._ranker, self._towers, self._value = transform, ranker, towers, value

    def save(self, directory: Path) -> None:
        """Writes `saved_model.pb`, `variables/`, `assets/`."""
        signatures = {
            "serving_default": _concrete(self._rank, self._market.features),
            "evaluate": tf.function(self._evaluate).get_concrete_function(
                position=tf.TensorSpec([None], tf.int64, name="position"),
                **tensor_specs(self._market.features),
            ),
            "query": _concrete(self._query, self._market.request_features),
            "offers": _concrete(self._offers, self._market.offer_features),
            "examples": tf.function(self._examples).get_concrete_function(
                examples=tf.TensorSpec([None], tf.string, name="examples")
            ),
        }
        tf.saved_model.save(self, str(directory), signatures=signatures)

    def _rank(self, raw: dict[str, Any]) -> dict[str, Any]:
        inputs = pack(self._encoding, self._transform(raw))
        predicted = self._all_tasks(inputs)
        return {t.name: predicted[t.name] for t in self._market.served_tasks} | self._values(inputs)

    def _evaluate(self, position: Any, **raw: Any) -> dict[str, Any]:
        inputs = pack(self._encoding, self._transform(raw))
        examination = tf.exp(self._ranker.log_examination(inputs, position))
        return {**self._all_tasks(inputs), **self._values(inputs), EXAMINATION: examination}

    def _values(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return {} if self._value is None else {VALUE_MICROS: self._value.micros(inputs)}

    def _all_tasks(self, inputs: dict[str, Any]) -> dict[str, Any]:
        p = self._ranker.probabilities(inputs)
        return {t.name: p[:, i] for i, t in enumerate(self._market.tasks)}

    def _query(self, raw: dict[str, Any]) -> dict[str, Any]:
        return {"embedding": self._towers.query(**self._encoding.request.pack(self._transform(raw)))}

    def _offers(self, raw: dict[str, Any]) -> dict[str, Any]:
        return {"embedding": self._towers.offer(**self._encoding.offer.pack(self._transform(raw)))}

    def _examples(self, examples: Any) -> dict[str, Any]:
        raw = tf.io.parse_example(examples, example_spec(self._market.features))
        return self._all_tasks(pack(self._encoding, self._transform(raw)))


def pack(encoding: Encoding, columns: dict[str, Any]) -> dict[str, Any]:
    """Transformed columns -> the ranker's inputs."""
    groups = encoding.groups.items()
    return {f"{side}_{name}": tensor for side, group in groups for name, tensor in group.pack(columns).items()}


def example_spec(features: tuple[FeatureSpec, ...]) -> dict[str, Any]:
    """How to parse raw features from tf.Example; a missing one takes its `fill`."""
    return {
        t.name: tf.io.FixedLenFeature(
            [t.width] if t.width else [], DTYPES[t.dtype], default_value=[t.fill] * t.width if t.width else t.fill
        )
        for f in features
        for t in f.tensors
    }


def _concrete(fn: Any, features: tuple[FeatureSpec, ...]) -> Any:
    """A signature whose inputs are named by feature."""

    def by_name(**raw: Any) -> dict[str, Any]:
        return dict(fn(raw))

    return tf.function(by_name).get_concrete_function(**tensor_specs(features))


def tensor_specs(features: tuple[FeatureSpec, ...]) -> dict[str, Any]:
    """Raw tensors by name: [N], or [N, width]."""
    tensors = [t for f in features for t in f.tensors]
    return {t.name: tf.TensorSpec([None, t.width] if t.width else [None], DTYPES[t.dtype], name=t.name) for t in tensors}
