"""Training logs as streams of Arrow batches: CSV, Parquet and TFRecord, alone or a directory of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from domain.errors import InvalidTrainingData

SUFFIXES = (".csv", ".csv.gz", ".parquet", ".tfrecord", ".tfrecord.gz")
BATCH_ROWS = 16_384


def files_of(data: Path) -> list[Path]:
    """The log itself, or all logs below a directory in order of their paths; hidden and `_` names are not logs.

    Raises:
      InvalidTrainingData: there is nothing to read, or not in a known format.
    """
    if data.is_dir():
        parts = sorted(p for p in data.rglob("*") if p.is_file() and not _is_hidden(p.relative_to(data)))
        files = [p for p in parts if p.name.endswith(SUFFIXES)]
        if not files:
            raise InvalidTrainingData(str(data), f"a directory with {', '.join(SUFFIXES)} files", f"{len(parts)} other files")
        return files
    if not data.exists():
        raise InvalidTrainingData(str(data), "a training log", "no such file")
    if not data.name.endswith(SUFFIXES):
        raise InvalidTrainingData(str(data), f"a name ending in {', '.join(SUFFIXES)}", data.name)
    return [data]


def read(
    file: Path, columns: tuple[str, ...], optional: tuple[str, ...] = (), lists: frozenset[str] = frozenset()
) -> Iterator[pa.RecordBatch]:
    """Batches of the chosen columns, in file order. CSV comes as text, with "" where nothing stands.

    Args:
      optional: more columns; a file that lacks one gives batches without it, or with nulls.
      lists: columns that may have several values per tf.Example.

    Raises:
      InvalidTrainingData: unreadable, or columns are missing.
    """
    try:
        if file.name.endswith((".tfrecord", ".tfrecord.gz")):
            yield from _read_tfrecord(file, columns, optional, lists)
        else:
            yield from (_read_csv if file.name.endswith((".csv", ".csv.gz")) else _read_parquet)(file, columns, optional)
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError) as e:
        raise InvalidTrainingData(str(file), "a readable file", str(e).split("\n")[0] or type(e).__name__) from None


def _is_hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _present(file: Path, names: list[str], columns: tuple[str, ...], optional: tuple[str, ...] = ()) -> list[str]:
    """The columns, and those of the optional ones that the file has."""
    missing = [c for c in columns if c not in names]
    if missing:
        raise InvalidTrainingData(str(file), f"columns {', '.join(map(repr, missing))}", names)
    present = list(dict.fromkeys([*columns, *(c for c in optional if c in names)]))
    twice = [c for c in present if names.count(c) > 1]
    if twice:
        raise InvalidTrainingData(str(file), f"column {twice[0]!r} once", f"{names.count(twice[0])} of them")
    return present


def _read_csv(file: Path, columns: tuple[str, ...], optional: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    parse = pacsv.ParseOptions(newlines_in_values=True)
    with pacsv.open_csv(str(file), parse_options=parse) as head:
        present = _present(file, head.schema.names, columns, optional)
    convert = pacsv.ConvertOptions(
        include_columns=present,
        column_types={c: pa.string() for c in present},
        strings_can_be_null=False,
        quoted_strings_can_be_null=False,
    )
    with pacsv.open_csv(str(file), parse_options=parse, convert_options=convert) as reader:
        yield from reader


def _read_parquet(file: Path, columns: tuple[str, ...], optional: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(file) as parquet:
        present = _present(file, parquet.schema_arrow.names, columns, optional)
        yield from parquet.iter_batches(BATCH_ROWS, columns=present)


def _read_tfrecord(
    file: Path, columns: tuple[str, ...], optional: tuple[str, ...], lists: frozenset[str]
) -> Iterator[pa.RecordBatch]:
    """tf.Example records; a feature may be absent from some, but not from all."""
    from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

    from models.legacy_keras import tf

    decoder = ExamplesToRecordBatchDecoder()
    compression = "GZIP" if file.name.endswith(".gz") else ""
    seen: set[str] = set()
    try:
        for records in tf.data.TFRecordDataset(str(file), compression_type=compression).batch(BATCH_ROWS).as_numpy_iterator():
            batch = decoder.DecodeBatch(list(records))
            seen.update(batch.schema.names)
            wanted = list(dict.fromkeys([*columns, *optional]))
            arrays = [_values(file, batch, c, several=c in lists) for c in wanted]
            yield pa.RecordBatch.from_arrays(arrays, names=wanted)
    except (tf.errors.OpError, RuntimeError, ValueError) as e:
        raise InvalidTrainingData(str(file), "a TFRecord file of tf.Example", str(e).split("\n")[0]) from None
    if seen:
        _present(file, sorted(seen), columns)


def _values(file: Path, batch: pa.RecordBatch, column: str, *, several: bool) -> pa.Array:
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
        raise InvalidTrainingData(f"{file.name}: feature {column!r}", "one value per example", f"{lengths.max()} values")
    at = (lengths.cumsum() - lengths).astype("int64")
    return lists.flatten().take(pa.array(at, mask=lengths == 0))
