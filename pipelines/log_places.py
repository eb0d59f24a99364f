"""Where rows that judge a model stand in the user's own files, kept beside what is trained on, so that predictions join back.

rows.parquet and tf.Examples carry a number, `features.spec.LOG_ROW`; this is what it stands for.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.spec import LOG_ROW
from pipelines.keys import decoded
from pipelines.text import plain_key

FILE, ROW, KEY = "file", "row", "key"
SCHEMA = pa.schema([(LOG_ROW, pa.int64()), (FILE, pa.string()), (ROW, pa.int64()), (KEY, pa.string())])


class Places:
    """Notes rows batch by batch, in the order of the log."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer

    def note(self, chosen: NDArray[np.bool_], before: int, file: Path, start: int, key: pa.Array | None) -> None:
        """Some rows of a batch.

        Args:
          chosen: [R], which of them.
          before, start: rows of the log and of the file before the batch.
          key: [R], what the split goes by, if it goes by anything.
        """
        rows = np.flatnonzero(chosen)
        if not len(rows):
            return
        said = [None] * len(rows) if key is None else plain_key(key.take(pa.array(rows))).to_pylist()
        keys = [one if one is None else _said(one) for one in said]
        columns = [before + rows, [str(file)] * len(rows), start + rows + 1, keys]
        self._writer.write_table(pa.table(dict(zip(SCHEMA.names, columns, strict=True)), schema=SCHEMA))


@contextmanager
def places(path: Path) -> Iterator[Places]:
    """Writes them to a file."""
    with pq.ParquetWriter(path, SCHEMA) as writer:
        yield Places(writer)


class NotedPlaces(AbstractContextManager["NotedPlaces"]):
    """What was noted, read from the file a row group at a time."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetFile(path)
        groups = [self._file.metadata.row_group(i) for i in range(self._file.num_row_groups)]
        self._last = np.array([g.column(0).statistics.max for g in groups], np.int64)
        """[G], the greatest number of each group; they ascend."""

    def of(self, numbers: NDArray[np.int64]) -> pa.Table:
        """[N] rows of the log, in the order of the numbers -> file, row as a user counts it, from 1, and key."""
        groups = np.unique(np.searchsorted(self._last, numbers)).tolist()
        noted = self._file.read_row_groups(groups)
        return noted.take(pa.array(np.searchsorted(noted[LOG_ROW].to_numpy(), numbers))).drop([LOG_ROW])

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _said(key: object) -> str:
    return decoded(key) if isinstance(key, bytes) else str(key)
