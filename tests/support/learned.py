"""Transform's analysis over a handful of rows, without a pipeline around it."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.market import Market, load_market

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TensorFlow's own imports
    import tensorflow_transform as tft
    import tensorflow_transform.beam as tft_beam
    from tensorflow_transform.tf_metadata.dataset_metadata import DatasetMetadata

    from models.export import pack
    from models.legacy_keras import tf
    from models.preprocessing import Encoding, Unseen, encoding_of, preprocessing_fn
    from pipelines.schema import schema_of

__all__ = ["Learned", "Row", "Unseen", "learn"]
Row = dict[str, Any]


@dataclass(frozen=True)
class Learned:
    """A market and what was learned from its rows."""

    market: Market
    encoding: Encoding
    transform: Any

    def columns(self, tensors: Row) -> dict[str, Any]:
        """Raw tensors -> Transform's columns, as arrays."""
        raw = {name: tf.constant(tensor) for name, tensor in tensors.items()}
        return {name: column.numpy() for name, column in self.transform(raw).items()}

    def packed(self, tensors: Row) -> dict[str, Any]:
        """Raw tensors -> the ranker's inputs, as arrays."""
        raw = {name: tf.constant(tensor) for name, tensor in tensors.items()}
        return {name: tensor.numpy() for name, tensor in pack(self.encoding, self.transform(raw)).items()}


def learn(market_toml: str, rows: list[Row], folder: Path) -> Learned:
    """Analyses rows as they stand in training examples."""
    (folder / "market.toml").write_text(market_toml)
    market = load_market(folder / "market.toml")
    metadata = DatasetMetadata(schema_of(market))
    others = dict.fromkeys((*(t.label for t in market.tasks), *market.row_columns), 0)
    labelled = [others | row for row in rows]

    def preprocess(inputs: Row) -> Row:
        return preprocessing_fn(inputs, {"market": str(folder / "market.toml")})

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with tft_beam.Context(temp_dir=str(folder / "tmp")):
            transform_fn = (labelled, metadata) | tft_beam.AnalyzeDataset(preprocess)
            _ = transform_fn | tft_beam.WriteTransformFn(str(folder / "transform"))
        output = tft.TFTransformOutput(str(folder / "transform"))
        return Learned(market, encoding_of(market, output), output.transform_features_layer())
