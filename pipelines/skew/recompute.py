"""What training's own path makes of rows: the release's Transform graph and model. Loads TensorFlow."""

import warnings
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from domain.errors import ContractError
from features.market import Market
from models.release import TRANSFORM, raw_column
from pipelines.skew.ranked import Columns

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TensorFlow's own imports
    import tensorflow_transform as tft

    from models.legacy_keras import tf
    from pipelines.scoring import load_ranker, score


class Recomputer:
    """One release of a market.

    Raises, here and in every method:
      ContractError: TensorFlow cannot load it.
    """

    def __init__(self, market: Market, release: Path) -> None:
        self._market, self._release = market, release
        self._rank = self._loaded(lambda: load_ranker(str(release)))

    def encoded(self, tensors: Columns) -> Columns:
        """What the networks read, [R] or [R, width] by Transform's names: `<feature>:id`, `<feature>:z`."""
        columns = self._transform({name: tf.constant(tensor) for name, tensor in tensors.items()})
        return {name: column.numpy() for name, column in columns.items()}

    def raw(self, tensors: Columns) -> Columns:
        """`raw.<task>` -> [R], the model's own probabilities."""
        rows = len(next(iter(tensors.values())))
        labelled = tensors | {self._market.tasks[0].label: np.zeros(rows, np.int64)}
        found = score(self._market, self._rank, labelled)
        return {raw_column(t.name): found[raw_column(t.name)] for t in self._market.served_tasks}

    @cached_property
    def _transform(self) -> Any:
        graph = self._release / TRANSFORM
        return self._loaded(lambda: tft.TFTransformOutput(str(graph)).transform_features_layer())

    def _loaded(self, load: Any) -> Any:
        try:
            return load()
        except (tf.errors.OpError, OSError, ValueError, KeyError) as e:
            raise ContractError(f"{self._release}: TensorFlow cannot load it: {str(e).splitlines()[0]}") from None
