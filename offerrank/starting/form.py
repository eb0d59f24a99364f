"""How a file is written: its separator, its encoding, whether its first line has names; what cannot be seen is guessed."""

import codecs
import csv
import gzip
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from domain.errors import InvalidTrainingData
from features.training_spec import CsvSpec
from pipelines.numbers import NUMERAL

SEPARATORS = (",", ";", "\t", "|", "^", "~", ":", "\x01")
"""Tried in this order; the first four are found by a training, too."""
HEAD_BYTES = 1 << 18
LINES = 50
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True, slots=True)
class Form:
    """What a training has to know of a CSV file, and why it is thought to be so."""

    csv: CsvSpec
    names: tuple[str, ...]
    """Of the columns."""
    why: tuple[str, ...]
    """One line for each guess that had to be made."""


def csv_form(file: Path) -> Form:
    """Looks at the first lines.

    Raises:
      InvalidTrainingData: it is empty, or cannot be read.
    """
    try:
        with gzip.open(file) if file.name.endswith(".gz") else file.open("rb") as opened:
            head = opened.read(HEAD_BYTES)
    except (OSError, EOFError) as e:
        raise InvalidTrainingData(str(file), "a readable file", str(e) or type(e).__name__) from None
    encoding, why = _encoding(head)
    text = head.decode(encoding or "utf-8", "replace").lstrip("\ufeff")
    lines = text.splitlines(keepends=True)
    lines = (lines[:-1] if len(head) == HEAD_BYTES and len(lines) > 1 else lines)[:LINES]
    if not any(line.strip() for line in lines):
        raise InvalidTrainingData(str(file), "a header line and rows", "nothing")
    usual = "\t" if file.name.endswith((".tsv", ".tsv.gz")) else ","
    separator = max(dict.fromkeys((usual, *SEPARATORS)), key=lambda s: _fits(lines, s))
    rows = [row for row in csv.reader(lines, delimiter=separator) if row]
    reasons = [why] if why else []
    if separator != usual:
        reasons.append(f"most lines have {len(rows[0])} fields when separated by {separator!r}")
    columns: tuple[str, ...] = ()
    if not _is_header(rows):
        columns = tuple(f"column_{i + 1}" for i in range(len(rows[0])))
        reasons.append(f"the first line looks like a row, not like names ({', '.join(rows[0][:3])} ...): name the columns here")
    spec = CsvSpec(separator=None if separator == usual else separator, encoding=encoding, columns=columns)
    return Form(spec, columns or tuple(rows[0]), tuple(reasons))


def _encoding(head: bytes) -> tuple[str | None, str]:
    """None where a training sees it by itself."""
    if any(head.startswith(mark) for mark in _MARKS):
        return next(name for mark, name in _MARKS.items() if head.startswith(mark)), ""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
        return None, ""
    except UnicodeDecodeError as e:
        got = head[e.start : e.start + 1].hex()
        return "cp1252" if not _undefined(
            head
        ) else "latin-1", f"byte 0x{got} at {e.start} is no UTF-8; Western European text has it"


def _undefined(head: bytes) -> bool:
    """Whether there are bytes that cp1252 has no character for."""
    return any(byte in head for byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D))


def _fits(lines: list[str], separator: str) -> tuple[float, int]:
    """How many lines have the usual number of fields, of several; then how many fields these are."""
    try:
        counts = Counter(len(row) for row in csv.reader(lines, delimiter=separator) if row)
    except csv.Error:
        return 0.0, 0
    fields, lines_of = counts.most_common(1)[0]
    return (lines_of / counts.total(), fields) if fields > 1 else (0.0, 0)


def _is_header(rows: list[list[str]]) -> bool:
    """Names are no numbers, are different, and not empty throughout; a row of words alone is taken for names."""
    first = [field.strip() for field in rows[0]]
    if any(re.match(NUMERAL, field) for field in first) or len(set(first)) < len(first):
        return False
    return bool(any(first))
