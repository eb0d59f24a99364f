"""Says which value of a training log cannot be used: file, column, row and the value."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa

from domain.errors import InvalidTrainingData

Where = Callable[[int], str]
"""Row of a batch -> what to call it in a message."""
Place = Callable[[str, int], str]
"""Column and row of a batch -> what to call it in a message."""


def place(file: Path, column: str, row: int, start: int) -> str:
    """A value's place, as a user counts rows: the first after a header line is row 1.

    Args:
      start: rows of the file before the batch.
    """
    return f"{file}: column {column!r}, row {start + row + 1}"


def refuse_first(wrong: Any, raw: pa.Array, expected: str, where: Where) -> None:
    """Names the first wrong value and its row.

    Raises:
      InvalidTrainingData: any is wrong.
    """
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InvalidTrainingData(where(row), expected, value_at(raw, row))


def refuse_type(raw: pa.Array, expected: str, where: Where) -> NoReturn:
    """Names a column's first value, since none of the column's type can be used.

    Raises:
      InvalidTrainingData: always.
    """
    row = int(np.argmax(raw.is_valid().to_numpy(zero_copy_only=False))) if len(raw) else 0
    got = value_at(raw, row) if len(raw) else None
    raise InvalidTrainingData(where(row), f"{expected}, not {raw.type}", got)


def value_at(raw: pa.Array, row: int) -> object:
    """A value for people; of a time that Python has no object for, such as one in the year 10000, its number."""
    try:
        if pa.types.is_timestamp(raw.type) and raw.type.unit == "ns":
            return raw.slice(row, 1).cast(pa.timestamp("us", raw.type.tz), safe=False)[0].as_py()
        return raw[row].as_py()
    except (ValueError, OverflowError):
        return raw.slice(row, 1).cast(pa.int64())[0].as_py()
