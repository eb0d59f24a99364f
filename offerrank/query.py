"""`offerrank query`: SQL over the archive, by DuckDB, in this process. It reads, and nothing else."""

import sys
from pathlib import Path
from typing import Any

import orjson
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from domain.errors import OfferRankError
from features.log_archive import DECISIONS, EVENTS


def run(sql: str, log_dir: Path, as_json: bool) -> None:
    """Prints what a query gives, as a table, or with `as_json` a row a line.

    Raises:
      OfferRankError: the archive is empty, or the query cannot be run; says why.
    """
    import duckdb

    try:
        names, rows = _answer(duckdb, sql, log_dir)
    except duckdb.Error as e:
        raise OfferRankError(str(e)) from None
    if as_json:
        for row in rows:
            typer.echo(orjson.dumps(dict(zip(names, row, strict=True)), default=str).decode())
        return
    table = Table(*names, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 1_000, soft_wrap=not sys.stdout.isatty()).print(table)


def _answer(duckdb: Any, sql: str, log_dir: Path) -> tuple[list[str], list[tuple[Any, ...]]]:
    with duckdb.connect(":memory:") as db:
        found = [log for log in (DECISIONS, EVENTS) if any((log_dir / log).glob("hour=*/part-*.parquet"))]
        if not found:
            raise OfferRankError(f"{log_dir}: expected an archive, found no part of decisions or events")
        for log in found:
            files = str(log_dir.resolve() / log / "hour=*" / "part-*.parquet").replace("'", "''")
            how = "union_by_name = true, hive_partitioning = true, hive_types_autocast = false"
            db.execute(f"CREATE VIEW {log} AS SELECT * FROM read_parquet('{files}', {how})")
        statements = db.extract_statements(sql)
        reads = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
        if len(statements) != 1 or statements[0].type not in reads:
            raise OfferRankError("expected one SELECT: the archive is only read")
        db.execute("SET allowed_directories = [$dir]", {"dir": str(log_dir.resolve())})
        db.execute("SET enable_external_access = false")
        db.execute("SET lock_configuration = true")
        answer = db.execute(statements[0])
        return [column[0] for column in answer.description], answer.fetchall()
