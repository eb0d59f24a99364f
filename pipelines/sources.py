"""Training logs as streams of Arrow batches: CSV, Parquet and TFRecord, alone or a directory of them."""

import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa

from domain.errors import InvalidTrainingData
from features.training_spec import CsvSpec
from pipelines.csv_source import ENCODING, read_csv
from pipelines.parquet_source import read_parquet
from pipelines.refusals import place
from pipelines.text import readable

CSV_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
TFRECORD_SUFFIXES = (".tfrecord", ".tfrecord.gz")
SUFFIXES = (*CSV_SUFFIXES, ".parquet", *TFRECORD_SUFFIXES)
COMMAS = CsvSpec()


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
    file: Path,
    columns: tuple[str, ...],
    optional: tuple[str, ...] = (),
    lists: frozenset[str] = frozenset(),
    keys: frozenset[str] = frozenset(),
    csv: CsvSpec = COMMAS,
) -> Iterator[pa.RecordBatch]:
    """Batches of the chosen columns, in file order; text is UTF-8. CSV comes as text, with "" where nothing stands.

    Args:
      optional: more columns; a file that lacks one gives batches without it, or with nulls.
      lists: columns that may have several values per tf.Example.
      keys: columns that only tell rows apart, so that any bytes will do.
      csv: how CSV files are written.

    Raises:
      InvalidTrainingData: unreadable, or columns are missing, or text is not UTF-8.
    """
    hint = ""
    try:
        if file.name.endswith(TFRECORD_SUFFIXES):
            from pipelines.tfrecord_source import read_tfrecord  # TensorFlow takes seconds

            batches = read_tfrecord(file, columns, optional, lists)
        elif file.name.endswith(CSV_SUFFIXES):
            batches, hint = read_csv(file, columns, optional, csv), ENCODING
        else:
            batches = read_parquet(file, columns, optional)
        start = 0
        for batch in batches:
            yield readable(batch, partial(place, file, start=start), keys, hint)
            start += batch.num_rows
    except UnicodeError as e:
        raise InvalidTrainingData(str(file), f"UTF-8 text{hint}", str(e)) from None
    except (pa.ArrowException, OSError, EOFError, zlib.error) as e:
        raise InvalidTrainingData(str(file), "a readable file", str(e).split("\n")[0] or type(e).__name__) from None


def _is_hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)
