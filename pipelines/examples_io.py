"""Splits of a TFX Examples artifact in Parquet: checked rows, each value in a list of its own, as TFX's readers want them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.market import Market
from features.spec import DType, RawTensor

BATCH_ROWS = 16_384
ROW_GROUP = 65_536
"""Rows of a row group, which Beam reads as one batch: the costs of a batch are those of Python, the memory some 10 MB."""
LISTS = {
    pa.string(): pa.large_list(pa.large_binary()),
    pa.int64(): pa.large_list(pa.int64()),
    pa.float32(): pa.large_list(pa.float32()),
}
"""Arrow's type of a column of checked rows -> as TFX derives it from a schema."""

Arrays = dict[str, NDArray[Any]]


def write_split(rows: Path, examples: Path, split: str) -> None:
    """`rows/*.parquet` into a split of an artifact, in their order, a row group at a time."""
    folder = examples / f"Split-{split}"
    folder.mkdir(parents=True)
    for file in sorted(rows.glob("*.parquet")):
        with pq.ParquetFile(file) as source:
            schema = pa.schema([(field.name, LISTS[_value_type(field.type)]) for field in source.schema_arrow])
            with pq.ParquetWriter(folder / file.name, schema) as sink:
                for batch in source.iter_batches(ROW_GROUP):
                    lists = [_as_lists(column) for column in batch.columns]
                    sink.write_table(pa.Table.from_arrays(lists, schema=schema), ROW_GROUP)


def files_of(examples_uri: str, split: str) -> list[str]:
    """Files of a split, in the order of the rows."""
    return sorted(map(str, (Path(examples_uri) / f"Split-{split}").glob("*.parquet")))


def count_rows(files: list[str]) -> int:
    """Rows of some files, by what they say at their ends."""
    return sum(pq.read_metadata(file).num_rows for file in files)


def read_files(files: list[str], market: Market) -> Iterator[tuple[Arrays, Arrays]]:
    """Batches of (features by tensor, labels and other columns by name), each an array [n] or [n, width], n up to 16,384.

    Text is bytes; rows of a batch with the same text share one object.
    """
    tensors = [t for f in market.features for t in f.tensors]
    yield from read_tensors(files, tensors, [*(t.label for t in market.tasks), *market.row_columns])


def read_tensors(files: list[str], tensors: Sequence[RawTensor], others: Sequence[str]) -> Iterator[tuple[Arrays, Arrays]]:
    """As `read_files`, of some columns alone; the others lie on the disk unread."""
    for file in files:
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(BATCH_ROWS, columns=[*(t.name for t in tensors), *others]):
                columns = dict(zip(batch.schema.names, batch.columns, strict=True))
                features = {t.name: _array(columns[t.name], t.dtype) for t in tensors}
                for t in tensors:
                    if t.width is not None:
                        features[t.name] = features[t.name].reshape(batch.num_rows, t.width)
                yield features, {name: _array(columns[name], "int") for name in others}


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_list(kind) else kind


def _as_lists(column: pa.Array) -> pa.Array:
    """[a, b] -> [[a], [b]]; columns of lists, all of one length, stay as they are."""
    values = column.flatten() if pa.types.is_list(column.type) else column
    kind = LISTS[values.type]
    offsets = np.arange(len(column) + 1) * (len(values) // max(len(column), 1))
    return pa.LargeListArray.from_arrays(pa.array(offsets), values.cast(kind.value_type))


def _array(lists: pa.Array, dtype: DType) -> NDArray[Any]:
    """The values, one list after the other."""
    values = lists.flatten()
    if dtype != "string":
        return np.asarray(values)
    encoded = values.dictionary_encode()
    distinct = encoded.dictionary.to_numpy(zero_copy_only=False)
    return np.asarray(distinct[encoded.indices.to_numpy()])
