"""CSV files as Arrow batches of bytes, whatever separates their fields and encodes their text.

What is sure is recognised: a byte order mark, and the separator with which the header line has all columns that are asked for.
The rest is said by the market's `[training.csv]`.
"""

import codecs
import csv
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from domain.errors import InvalidTrainingData
from features.training_spec import CsvSpec
from pipelines.present import present_columns

SEPARATORS = (",", ";", "\t", "|")
HINT = " (or training.csv.separator, or training.csv.columns where there is no header line)"
ENCODING = " (or training.csv.encoding)"
_HEAD_BYTES = 1 << 16
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # begins as UTF-16 does
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_csv(file: Path, columns: tuple[str, ...], optional: tuple[str, ...], written: CsvSpec) -> Iterator[pa.RecordBatch]:
    """Every column as bytes, b"" where nothing stands.

    Raises:
      InvalidTrainingData: columns are missing, or a row has more or fewer fields than the header line.
    """
    head = _head(file)
    encoding = written.encoding or next((name for mark, name in _MARKS.items() if head.startswith(mark)), "utf8")
    first_line = head.split(b"\n", 1)[0]
    if encoding == "utf8" and b"\0" in first_line:
        raise InvalidTrainingData(str(file), f"UTF-8 text{ENCODING}", first_line[:40])
    separator = written.separator or _separator(file, head.decode(encoding, "replace"), columns)
    ragged: list[Any] = []

    def noted(row: Any) -> str:
        ragged.append(row)
        return "error"

    options = {
        "read_options": pacsv.ReadOptions(encoding=encoding, column_names=list(written.columns) or None),
        "parse_options": pacsv.ParseOptions(delimiter=separator, newlines_in_values=True, invalid_row_handler=noted),
    }
    try:
        with pacsv.open_csv(str(file), **options) as opened:
            present = present_columns(file, opened.schema.names, columns, optional, HINT)
        convert = pacsv.ConvertOptions(
            include_columns=present,
            column_types={c: pa.binary() for c in present},
            strings_can_be_null=False,
            quoted_strings_can_be_null=False,
        )
        with pacsv.open_csv(str(file), **options, convert_options=convert) as reader:
            yield from reader
    except pa.ArrowInvalid:
        if not ragged:
            raise
        row, got = _first_ragged(file, encoding, separator, ragged[0].expected_columns) or (None, ragged[0].text)
        where = str(file) if row is None else f"{file}: row {row + bool(written.columns)}"
        fields = f"{ragged[0].expected_columns} fields, as its first line has (or training.csv.separator)"
        raise InvalidTrainingData(where, fields, got) from None


def _first_ragged(file: Path, encoding: str, separator: str, fields: int) -> tuple[int, list[str]] | None:
    """The first row with another number of fields, since Arrow names none; line 0 is the first, and blank ones are no rows."""
    opener: Any = gzip.open if file.name.endswith(".gz") else open
    with opener(file, "rt", encoding=encoding, errors="replace", newline="") as lines:
        try:
            rows = enumerate(row for row in csv.reader(lines, delimiter=separator) if row)
            return next(((number, row) for number, row in rows if len(row) != fields), None)
        except csv.Error:
            return None


def _head(file: Path) -> bytes:
    with gzip.open(file) if file.name.endswith(".gz") else file.open("rb") as opened:
        return opened.read(_HEAD_BYTES)


def _separator(file: Path, head: str, columns: tuple[str, ...]) -> str:
    """The one with which all columns are in the header line; the usual one where none is."""
    usual = "\t" if file.name.endswith((".tsv", ".tsv.gz")) else ","
    lines = head.lstrip("\ufeff").splitlines(keepends=True)
    return next((s for s in dict.fromkeys((usual, *SEPARATORS)) if set(columns) <= _names(lines, s)), usual)


def _names(lines: list[str], separator: str) -> set[str]:
    try:
        return set(next(csv.reader(lines, delimiter=separator), ()))
    except csv.Error:
        return set()
