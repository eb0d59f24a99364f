"""What a SavedModel makes of rows."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.market import Market
from features.monitoring_spec import POSITION
from models.legacy_keras import tf
from models.release import EXAMINATION, raw_column
from pipelines.split_columns import Columns, in_batches


@lru_cache(maxsize=2)
def load_signatures(saved_model: str) -> Mapping[str, Any]:
    """By name, as `models.export` has them; those of a training and of the release in service are loaded once for all components
    of a process."""
    signatures: Mapping[str, Any] = tf.saved_model.load(saved_model).signatures
    return signatures


def load_ranker(saved_model: str) -> Any:
    """What serving calls, with auxiliary tasks and the examination of positions."""
    return load_signatures(saved_model)["evaluate"]


def score(market: Market, rank: Any, rows: Columns) -> dict[str, NDArray[Any]]:
    """`raw.<task>` -> [N], the model's own probabilities as served, and `examination`, what the row's position leaves of them."""
    features = [t.name for f in market.features for t in f.tensors]
    told = [POSITION] if POSITION in rows else []
    scored = []
    for batch in in_batches(rows, [*features, *told]):
        inputs = {name: tf.constant(batch[name]) for name in features}
        position = batch[POSITION] if told else np.zeros(len(batch[features[0]]))
        found = rank(position=tf.constant(np.asarray(position, np.int64)), **inputs)
        scored.append({name: p.numpy() for name, p in found.items()})
    joined = {name: np.concatenate([b[name] for b in scored]) for name in scored[0]}
    return {EXAMINATION: joined.pop(EXAMINATION)} | {raw_column(task): p for task, p in joined.items()}
