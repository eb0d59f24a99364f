"""Writes a Parquet file whose rows come piece by piece, the last piece first, in bounded memory."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from models.log_used import LogUsed


class Pieces:
    """Keeps pieces on disk, a row group each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None
        self.metadata: dict[bytes, bytes] = {}
        """Of the file that comes of them."""
        self.edit: Callable[[pa.Table], pa.Table] = lambda rows: rows
        """What becomes of each piece in it; columns are the same for all."""

    def take(self, rows: pa.Table) -> None:
        """One more, of at least one row, which comes before all that were taken."""
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, rows.schema, compression="zstd")
        self._writer.write_table(rows, row_group_size=len(rows))

    def close(self) -> None:
        """No more will come."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __iter__(self) -> Iterator[pa.Table]:
        """In their order, once all have been taken."""
        self.close()
        with pq.ParquetFile(self._path) as pieces:
            for i in reversed(range(pieces.num_row_groups)):
                yield pieces.read_row_group(i)

    def turn(self, path: Path) -> None:
        """Writes them in their order."""
        with ExitStack() as stack:
            writer: pq.ParquetWriter | None = None
            for rows in map(self.edit, self):
                rows = rows.replace_schema_metadata(self.metadata)
                writer = writer or stack.enter_context(pq.ParquetWriter(path, rows.schema, compression="zstd"))
                if len(rows):
                    writer.write_table(rows)


@contextmanager
def written_in_order(path: Path) -> Iterator[Pieces]:
    """Pieces that become the file at the end; on an error none does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    taken, turned = (path.with_name(f".{path.name}.{os.getpid()}.{kind}.tmp") for kind in ("pieces", "rows"))
    pieces = Pieces(taken)
    try:
        yield pieces
        pieces.turn(turned)
        turned.rename(path)
    finally:
        with suppress(OSError, pa.ArrowException):  # a disk without room has failed it before
            pieces.close()
        for temporary in (taken, turned):
            temporary.unlink(missing_ok=True)


def log_used(file: Path) -> LogUsed | None:
    """What became of the log that the rows of a file were joined from; None of rows from elsewhere."""
    return LogUsed.of(pq.read_schema(file).metadata) if file.suffix == ".parquet" and file.is_file() else None
