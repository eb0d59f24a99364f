"""A copy of an archive in which decisions are not what was logged."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.log_archive import DECISIONS, parts

Rows = list[dict[str, Any]]


def tampered(log_dir: Path, copy: Path, change: Callable[[Rows], None]) -> Path:
    """Copies the archive; `change` gets all decisions, in the order in which they were logged."""
    shutil.copytree(log_dir / DECISIONS, copy / DECISIONS)
    found = parts(copy, DECISIONS)
    tables = []
    for part in found:
        with pq.ParquetFile(part.path) as file:
            tables.append(file.read())
    rows = [table.to_pylist() for table in tables]
    change([row for of_part in rows for row in of_part])
    for part, table, of_part in zip(found, tables, rows, strict=True):
        columns = [pa.array([row[f.name] for row in of_part], f.type) for f in table.schema]
        pq.write_table(pa.Table.from_arrays(columns, schema=table.schema), part.path)
    return copy
