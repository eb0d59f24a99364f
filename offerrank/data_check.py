"""`offerrank data check`: what a training would make of a log, printed, without training."""

from pathlib import Path

import orjson
import typer

from domain.errors import OfferRankError
from features.market import load_market
from offerrank.training import say
from pipelines.column_check import ColumnCheck
from pipelines.data_check import DataCheck, check_data

HEAD = ("column", "became", "rows", "missing", "distinct", "out of vocabulary", "least", "greatest")
WORDS = 2
"""Of the columns so many hold words, the rest numbers."""


def check(market_path: Path, data: Path, as_json: bool) -> None:
    """Reads everything and prints what each column became.

    Raises:
      OfferRankError: something cannot be used; says how much, and the first of it. All of it was printed.
    """
    found = check_data(load_market(market_path), data)
    if as_json:
        typer.echo(orjson.dumps(found.as_json(), option=orjson.OPT_INDENT_2).decode())
    else:
        _print(found)
    for column in found.columns:
        if column.outlier is not None:
            say(f"warning: column {column.column!r}: {column.outlier}")
    if found.wrong:
        more = f"; {len(found.wrong) - 1} more were printed" if len(found.wrong) > 1 else ""
        raise OfferRankError(f"{found.wrong[0]}{more}")


def _print(found: DataCheck) -> None:
    rows = [HEAD, *map(_cells, found.columns)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        words = (
            cell.ljust(width) if i < WORDS else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        typer.echo("  ".join(words).rstrip())
    for wrong in found.wrong:
        typer.echo(wrong)
    if found.ingested is not None:
        typer.echo(f"can be trained on: {', '.join(f'{split} {count:,}' for split, count in found.ingested.rows.items())} rows")


def _cells(column: ColumnCheck) -> tuple[str, ...]:
    distinct = "many" if column.distinct is None else f"{column.distinct:,}"
    unknown = "" if column.out_of_vocabulary is None else f"{column.out_of_vocabulary:,}"
    ends = ("" if end is None else f"{end:.7g}" for end in (column.spread.least, column.spread.greatest))
    return column.column, column.became, f"{column.rows:,}", f"{column.missing:,}", distinct, unknown, *ends
