"""TFRecord files of tf.Example as Arrow batches."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from domain.errors import InvalidTrainingData
from models.legacy_keras import tf
from pipelines.parquet_source import BATCH_ROWS
from pipelines.present import present_columns
from pipelines.refusals import place


def read_tfrecord(
    file: Path, columns: tuple[str, ...], optional: tuple[str, ...], lists: frozenset[str]
) -> Iterator[pa.RecordBatch]:
    """A feature may be absent from some examples, but not from all.

    Raises:
      InvalidTrainingData: no such file, a feature is in no example, or one that is not in `lists` has several values.
    """
    decoder = ExamplesToRecordBatchDecoder()
    compression = "GZIP" if file.name.endswith(".gz") else ""
    seen: set[str] = set()
    start = 0
    try:
        for records in tf.data.TFRecordDataset(str(file), compression_type=compression).batch(BATCH_ROWS).as_numpy_iterator():
            batch = decoder.DecodeBatch(list(records))
            seen.update(batch.schema.names)
            wanted = list(dict.fromkeys([*columns, *optional]))
            arrays = [_values(file, start, batch, c, several=c in lists) for c in wanted]
            start += batch.num_rows
            yield pa.RecordBatch.from_arrays(arrays, names=wanted)
    except (tf.errors.OpError, RuntimeError, ValueError) as e:
        raise InvalidTrainingData(str(file), "a TFRecord file of tf.Example", str(e).split("\n")[0]) from None
    if seen:
        present_columns(file, sorted(seen), columns)


def _values(file: Path, start: int, batch: pa.RecordBatch, column: str, *, several: bool) -> pa.Array:
    """A column of lists as it is, or, where they have at most one value, that value, or null."""
    if column not in batch.schema.names:
        return pa.nulls(batch.num_rows)
    lists: Any = batch.column(batch.schema.names.index(column))
    if pa.types.is_null(lists.type):
        return pa.nulls(batch.num_rows)
    if several:
        return lists
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    if lengths.max(initial=0) > 1:
        row = int((lengths > 1).argmax())
        raise InvalidTrainingData(place(file, column, row, start), "one value per example", lists[row].as_py())
    at = (lengths.cumsum() - lengths).astype("int64")
    return lists.flatten().take(pa.array(at, mask=lengths == 0))
