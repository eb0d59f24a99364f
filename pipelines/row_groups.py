"""Writes a Parquet file whose rows come piece by piece, the last piece first, in bounded memory."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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

    def take(self, rows: pa.Table) -> None:
        """One more, of at least one row, which comes before all that were taken."""
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, rows.schema, compression="zstd")
        self._writer.write_table(rows, row_group_size=len(rows))

    def close(self) -> None:
        """No more will come."""
        if self._writer is not None:
            self._writer.close()

    def turn(self, path: Path) -> None:
        """Writes them in their order."""
        with pq.ParquetFile(self._path) as pieces:
            schema = pieces.schema_arrow.with_metadata(self.metadata)
            with pq.ParquetWriter(path, schema, compression="zstd") as writer:
                for i in reversed(range(pieces.num_row_groups)):
                    writer.write_table(pieces.read_row_group(i).replace_schema_metadata(self.metadata))


@contextmanager
def written_in_order(path: Path) -> Iterator[Pieces]:
    """Pieces that become the file at the end; on an error none does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    taken, turned = (path.with_name(f".{path.name}.{os.getpid()}.{kind}.tmp") for kind in ("pieces", "rows"))
    pieces = Pieces(taken)
    try:
        yield pieces
        pieces.close()
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
