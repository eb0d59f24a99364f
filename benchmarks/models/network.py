"""Our networks as the pipeline makes them: Transform, `fit_ranker`, and a calibrator fitted on valid; all in this process."""

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pandas as pd
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from apache_beam.options.pipeline_options import PipelineOptions
from numpy.typing import NDArray
from sklearn.model_selection import ParameterSampler
from tfx_bsl.tfxio.tensor_adapter import TensorAdapterConfig
from tfx_bsl.tfxio.tensor_to_arrow import TensorsToRecordBatchConverter

from benchmarks.models.datasets import Fold, Labelled, with_model
from features.assemble import from_rows
from features.market import Market
from models.export import pack, tensor_specs
from models.fit import Rows, fit_ranker
from models.legacy_keras import tf
from models.preprocessing import Encoding, encoding_of, preprocess
from models.progress import Report
from models.release import calibrated_column, raw_column
from pipelines.calibration import calibrated, fit_calibrator

BATCH_ROWS = 16_384
SEARCHED = {
    "structure": ["stacked", "parallel"],
    "cross_layers": [0, 1, 2],
    "projection_dim": [None, 32],
    "hidden_units": [(64,), (128, 64), (256, 128), (256, 256, 128)],
    "embedding_dim": [4, 8, 16],
    "dropout": [0.0, 0.3, 0.6],
    "input_dropout": [0.0, 0.2],
    "l2": [1e-6, 1e-5, 1e-4, 3e-4],
    "learning_rate": [5e-4, 1e-3, 2e-3],
}
"""What a random search draws from, whatever the market; steps, patience and encodings are the market's."""

Floats = NDArray[np.float64]
Inputs = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A fold as the network reads it; of the test rows the inputs only."""

    encoding: Encoding
    train: Rows
    valid: Rows
    test: Inputs


class Encoder:
    """Encodes folds. One with the rows of the fold before it, as splits by time give for every seed, is encoded already."""

    def __init__(self) -> None:
        self._last: tuple[Fold, Encoded] | None = None

    def __call__(self, fold: Fold) -> Encoded:
        """`encode`, unless nothing has changed."""
        if self._last is None or not _same_rows(fold, self._last[0]):
            with tempfile.TemporaryDirectory(prefix="offerrank-") as folder:
                self._last = fold, encode(fold, Path(folder))
        return self._last[1]


def _same_rows(fold: Fold, other: Fold) -> bool:
    pairs = (fold.train.features, other.train.features), (fold.valid.features, other.valid.features), (fold.test, other.test)
    return fold.market.features == other.market.features and all(a.equals(b) for a, b in pairs)


def encode(fold: Fold, folder: Path) -> Encoded:
    """Learns vocabularies, quantiles and moments on train, as Transform does in the pipeline, and applies them."""
    batches, config = _record_batches(fold.market, fold.train.features)
    analyze = tft_beam.AnalyzeDataset(partial(preprocess, fold.market))
    options = PipelineOptions(["--direct_running_mode=in_memory", "--direct_num_workers=1"])
    with tft_beam.Context(temp_dir=str(folder / "tmp")), beam.Pipeline(options=options) as pipeline:
        ((pipeline | beam.Create(batches), config) | analyze) | tft_beam.WriteTransformFn(str(folder / "transform"))
    learned = tft.TFTransformOutput(str(folder / "transform"))
    encoding = encoding_of(fold.market, learned)
    transform = learned.transform_features_layer()
    inputs = partial(_inputs, fold.market, encoding, transform)

    def rows(labelled: Labelled) -> Rows:
        return Rows(inputs(labelled.features), {name: y.astype(np.float32) for name, y in labelled.labels.items()})

    return Encoded(encoding, rows(fold.train), rows(fold.valid), inputs(fold.test))


def searched(market: Market, encoded: Encoded, searches: int) -> Market:
    """The market with the one of so many random settings that has the least log loss of the first task on valid."""

    def loss(tried: Market) -> float:
        _, histories = fit_ranker(tried, encoded.encoding, encoded.train, encoded.valid, lambda _: None)
        return min(epoch.valid_loss[market.tasks[0].name] for epoch in histories.fits[0].epochs)

    draws = ParameterSampler(SEARCHED, searches, random_state=market.model.seed)
    return min((with_model(market, options, [t.name for t in market.tasks]) for options in draws), key=loss)


def fit_network(fold: Fold, market: Market, encoded: Encoded, report: Report) -> dict[str, Floats]:
    """Task -> calibrated probabilities of the test rows.

    Args:
      market: the fold's, perhaps with other keys of `[model]` or fewer tasks.
    """
    ranker, _ = fit_ranker(market, encoded.encoding, encoded.train, encoded.valid, report)
    calibrator = fit_calibrator(
        market, _columns(fold.valid.features) | fold.valid.labels | _predicted(market, ranker, encoded.valid.inputs)
    )
    test = calibrated(market, calibrator, _columns(fold.test) | _predicted(market, ranker, encoded.test))
    return {t.name: test[calibrated_column(t.name)] for t in market.tasks}


def _columns(rows: pd.DataFrame) -> dict[str, NDArray[Any]]:
    return {name: rows[name].to_numpy() for name in rows}


def _predicted(market: Market, ranker: Any, inputs: Inputs) -> dict[str, NDArray[np.float32]]:
    """raw.<task> -> [N], as the exported model has them."""
    batches = tf.data.Dataset.from_tensor_slices(inputs).batch(BATCH_ROWS)
    p = np.concatenate([ranker.probabilities(batch).numpy() for batch in batches])
    return {raw_column(t.name): p[:, i] for i, t in enumerate(market.tasks)}


def _inputs(market: Market, encoding: Encoding, transform: Any, rows: pd.DataFrame) -> Inputs:
    packed = []
    for start in range(0, len(rows), BATCH_ROWS):
        columns = transform(_tensors(market, rows.iloc[start : start + BATCH_ROWS]))
        packed.append({name: x.numpy() for name, x in pack(encoding, columns).items()})
    return {name: np.concatenate([p[name] for p in packed]) for name in packed[0]}


def _tensors(market: Market, rows: pd.DataFrame) -> dict[str, Any]:
    return {t.name: tf.constant(from_rows(t, rows[t.name].tolist())) for f in market.features for t in f.tensors}


def _record_batches(market: Market, rows: pd.DataFrame) -> tuple[list[Any], TensorAdapterConfig]:
    converter = TensorsToRecordBatchConverter(tensor_specs(market.features))
    starts = range(0, len(rows), BATCH_ROWS)
    batches = [converter.convert(_tensors(market, rows.iloc[start : start + BATCH_ROWS])) for start in starts]
    return batches, TensorAdapterConfig(converter.arrow_schema(), converter.tensor_representations())
