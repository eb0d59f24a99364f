"""TFDV's own skew and drift comparators on what was served, against what a release was trained on and against the time before.

TFDV holds statistics together feature by feature and compares a distance with a fixed threshold: text by L-infinity, the largest
difference of a value's share; numbers by the Jensen-Shannon divergence of their histograms. What that is worth:
docs/monitoring.md.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal

import apache_beam as beam
import pyarrow as pa
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatisticsList as Statistics

from domain.errors import ContractError, NothingToLearn
from features.log_schema import contiguous
from features.market import Market
from pipelines.bags import as_lists, tensor_columns
from pipelines.examples import rendered_rows
from pipelines.report import template
from pipelines.schema import schema_of

Kind = Literal["skew", "drift", "schema"]
_BATCH: Final = 10_000
_COMPARED: Final = "COMPARATOR_"
_NAMES: Final = {"L_INFTY": "L-infinity", "JENSEN_SHANNON_DIVERGENCE": "Jensen-Shannon"}


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Beyond which distance TFDV speaks of an anomaly."""

    infinity_norm: float = 0.1
    jensen_shannon: float = 0.1


@dataclass(frozen=True, slots=True)
class Distance:
    """Of one feature."""

    feature: str
    kind: Kind
    """`skew`: against the training rows; `drift`: against the time before."""
    comparator: str
    value: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Anomaly:
    """What TFDV has to say of one feature."""

    feature: str
    kind: Kind
    """`schema`: the rows served are not as the market describes them."""
    what: str
    description: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of the rows served in a span of time."""

    rows: int
    training_rows: int
    before_rows: int
    """Of the span of the same length before; 0 where nothing was served, and drift is not compared."""
    distances: tuple[Distance, ...]
    anomalies: tuple[Anomaly, ...]


def compare(
    market: Market, statistics: Path, log_dir: Path, since_ms: int, until_ms: int, thresholds: Thresholds, work: Path
) -> Comparison:
    """Compares the pages rendered between two times, both ends included.

    Args:
      market: that of the release.
      statistics: of the release's training rows, as StatisticsGen wrote them.
      work: an empty folder.
    Raises:
      NothingToLearn: nothing was rendered.
      InvalidTrainingData: the archive cannot be read as the market's.
      ContractError: the statistics cannot be read.
    """
    training = _training(statistics)
    rows = {"served": rendered_rows(market, log_dir, since_ms, until_ms)}
    with suppress(NothingToLearn):
        rows["before"] = rendered_rows(market, log_dir, 2 * since_ms - until_ms - 1, since_ms - 1)
    found = statistics_of(market, rows, work)
    return judged(market, training, found["served"], found.get("before"), thresholds)


def judged(
    market: Market, training: Statistics, served: Statistics, before: Statistics | None, thresholds: Thresholds
) -> Comparison:
    """What TFDV says of statistics."""
    schema = _schema(market, thresholds)
    training = _only(training, {feature.name for feature in schema.feature})
    skew = tfdv.validate_statistics(training, schema, serving_statistics=served)
    drift = tfdv.validate_statistics(served, schema, previous_statistics=before)
    return Comparison(
        _examples(served),
        _examples(training),
        _examples(before) if before else 0,
        (*_distances(skew, "skew"), *_distances(drift, "drift")),
        # Training has passed its schema: of that comparison only the comparators are news.
        (*(a for a in _anomalies(skew, "skew") if a.kind == "skew"), *_anomalies(drift, "drift")),
    )


def statistics_of(market: Market, rows: Mapping[str, pa.Table], work: Path) -> dict[str, Statistics]:
    """By name, of the features of training rows, as StatisticsGen has them of tf.Examples.

    Args:
      work: folder that they are written to.
    """
    with beam.Pipeline() as pipeline:
        for name, table in rows.items():
            batches = pipeline | name >> beam.Create(list(_batches(market, table))).with_output_types(pa.RecordBatch)
            found = batches | f"statistics of {name}" >> tfdv.GenerateStatistics(tfdv.StatsOptions())
            found | f"write {name}" >> tfdv.WriteStatisticsToBinaryFile(str(work / f"{name}.pb"))
    return {name: tfdv.load_stats_binary(str(work / f"{name}.pb")) for name in rows}


def page(market: Market, version: int, since_ms: int, until_ms: int, found: Comparison) -> str:
    """One file of HTML without scripts, which loads nothing."""
    times = {"since": str(since_ms), "until": str(until_ms)}
    return template("comparators.html").render(market=market, version=version, found=found, **times)


def _batches(market: Market, rows: pa.Table) -> Iterator[pa.RecordBatch]:
    names = [tensor.name for f in market.features for tensor in f.tensors]
    for start in range(0, len(rows), _BATCH):
        some = rows.slice(start, _BATCH)
        columns = [
            c for f in market.features for c in tensor_columns(f, contiguous(some[f.name]), partial(_where, f.name, start))
        ]
        yield pa.RecordBatch.from_arrays([as_lists(column) for column in columns], names=names)


def _where(column: str, start: int, row: int) -> str:
    return f"served rows: column {column!r}, row {start + row + 1}"


def _schema(market: Market, thresholds: Thresholds) -> schema_pb2.Schema:
    """The market's, of its features alone, with comparators."""
    tensors = {tensor.name: tensor for f in market.features for tensor in f.tensors}
    schema = schema_pb2.Schema(feature=[feature for feature in schema_of(market).feature if feature.name in tensors])
    for feature in schema.feature:
        for comparator in (feature.skew_comparator, feature.drift_comparator):
            if tensors[feature.name].dtype == "string":
                comparator.infinity_norm.threshold = thresholds.infinity_norm
            else:
                comparator.jensen_shannon_divergence.threshold = thresholds.jensen_shannon
    return schema


def _training(path: Path) -> Statistics:
    try:
        read = Statistics.FromString(path.read_bytes())
    except Exception as e:  # protobuf's own error differs by its implementation
        raise ContractError(f"{path}: expected statistics of training rows: {e}") from None
    if len(read.datasets) != 1:
        raise ContractError(f"{path}: expected statistics of one data set, got {len(read.datasets)}")
    return read


def _only(read: Statistics, names: set[str]) -> Statistics:
    """Without labels, and what else training rows have."""
    (dataset,) = read.datasets
    kept = Statistics(datasets=[dataset])
    del kept.datasets[0].features[:]
    kept.datasets[0].features.extend(feature for feature in dataset.features if ".".join(feature.path.step) in names)
    return kept


def _examples(read: Statistics) -> int:
    return int(read.datasets[0].num_examples)


def _distances(found: anomalies_pb2.Anomalies, kind: Literal["skew", "drift"]) -> Iterator[Distance]:
    for of in sorted(found.drift_skew_info, key=lambda of: list(of.path.step)):
        for one in of.skew_measurements if kind == "skew" else of.drift_measurements:
            name = anomalies_pb2.DriftSkewInfo.Measurement.Type.Name(one.type)
            yield Distance(".".join(of.path.step), kind, _NAMES.get(name, name), one.value, one.threshold)


def _anomalies(found: anomalies_pb2.Anomalies, kind: Literal["skew", "drift"]) -> Iterator[Anomaly]:
    for feature, of in sorted(found.anomaly_info.items()):
        for reason in of.reason:
            is_compared = anomalies_pb2.AnomalyInfo.Type.Name(reason.type).startswith(_COMPARED)
            yield Anomaly(feature, kind if is_compared else "schema", reason.short_description, reason.description)
