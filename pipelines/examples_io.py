"""Reads splits of a TFX Examples artifact back, as the raw tensors the model's signatures take."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from features.market import Market
from models.export import example_spec
from models.legacy_keras import tf

BATCH_ROWS = 4096


def read_split(examples_uri: str, split: str, market: Market) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Batches of (features by name, labels and other columns by name), each an array [n], n up to 4096."""
    return read_files(sorted(map(str, (Path(examples_uri) / f"Split-{split}").iterdir())), market)


def read_files(files: list[str], market: Market) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """As `read_split`, from gzipped TFRecord files."""
    others = [*(t.label for t in market.tasks), *market.row_columns]
    spec = example_spec(market.features) | {name: tf.io.FixedLenFeature([], tf.int64) for name in others}
    records = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(BATCH_ROWS)
    for batch in records.map(lambda serialized: tf.io.parse_example(serialized, spec)):
        yield {t.name: batch[t.name] for f in market.features for t in f.tensors}, {name: batch[name] for name in others}
