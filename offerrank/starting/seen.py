"""What a training log holds, column by column: read once, by the readers of a training."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from domain.errors import InvalidTrainingData
from features.spec import INT64, MAX_STRING
from features.training_spec import CsvSpec
from offerrank.starting.form import Form, csv_form
from pipelines.columns import NO, YES
from pipelines.numbers import NUMERAL
from pipelines.sources import COMMAS, CSV_SUFFIXES, files_of, read
from pipelines.text import are_missing, plain
from pipelines.times import ISO_8601

MOST_ROWS = 2_000_000
"""That are looked at."""
MOST_VALUES = 50_000
"""Of a column that are counted one by one."""
LEADING_ZERO = r"0\d"
"""Begins codes, such as 007, of which numbers would lose some."""
SAMPLED = 4_000
"""Numbers kept of a batch."""
SILENT = ("NA", "N/A", "#N/A", "NULL", "null", "NaN", "nan", "\\N")
"""Words that say nothing in any column."""
SILENT_AMONG_NUMBERS = ("?", "-", ".", "None", "none", "n/a", "na", "missing", "unknown")
"""And in one that otherwise holds numbers."""


@dataclass(slots=True)
class Seen:
    """What was seen of a column."""

    name: str
    type: str
    """`text`, `number`, `flag` (true or false), `time`, `list`, or Arrow's own name of what cannot be used."""
    rows: int = 0
    missing: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    """Values as text."""
    many: bool = False
    """Whether there are more than were counted."""
    sample: list[NDArray[np.float64]] = field(default_factory=list)
    longest: int = 0
    """Characters of the longest text, or values of the longest list."""
    whole: bool = True
    """Whether all of its numbers are whole."""

    @property
    def distinct(self) -> int:
        """Values, words for nothing among them; a lower bound where there are `many`."""
        return len(self.counts)

    @property
    def silent(self) -> tuple[str, ...]:
        """Words in it that say nothing."""
        if self.type not in ("text", "number", "flag"):
            return ()
        known = [word for word in SILENT if word in self.counts]
        if known and all(re.fullmatch("[A-Z]{2}", value) for value in self.counts):
            return ()  # codes of countries: NA is Namibia
        return tuple(known + [word for word in SILENT_AMONG_NUMBERS if self.type != "text" and word in self.counts])

    @property
    def values(self) -> dict[str, int]:
        """Value -> rows, without words for nothing, the most frequent first."""
        silent = set(self.silent)
        return {value: count for value, count in self.counts.most_common() if value not in silent}

    @property
    def lacking(self) -> int:
        """Rows in which nothing stands, or a word for it."""
        return self.missing + sum(self.counts[word] for word in self.silent)

    @property
    def numbers(self) -> NDArray[np.float64]:
        """Some of its numbers, from everywhere."""
        return np.concatenate(self.sample) if self.sample else np.zeros(0)


@dataclass(frozen=True, slots=True)
class Log:
    """A training log as it was looked at."""

    data: Path
    files: list[Path]
    csv: CsvSpec
    why: tuple[str, ...]
    """What had to be guessed to read it."""
    rows: int
    whole: bool
    """Whether all rows were looked at."""
    columns: dict[str, Seen]

    def batches(self, *names: str) -> Iterator[pa.RecordBatch]:
        """Some columns again, as far as they were looked at."""
        rows = 0
        for file in self.files:
            for batch in read(file, names, csv=self.csv):
                yield batch.slice(0, self.rows - rows)
                rows += batch.num_rows
                if rows >= self.rows:
                    return


def look_at(data: Path, columns: tuple[str, ...] = (), most_rows: int = MOST_ROWS) -> Log:
    """Reads a log.

    Args:
      columns: names for CSV files without a header line.
    Raises:
      InvalidTrainingData: it cannot be read, or there is no row.
    """
    files = files_of(data)
    form = _form(files[0])
    csv = form.csv.model_copy(update={"columns": columns}) if columns else form.csv
    names = columns or form.names
    seen = {name: Seen(name, "") for name in names}
    if len(seen) < len(names):
        raise InvalidTrainingData(str(files[0]), "columns of different names", names)
    rows, whole = 0, True
    for file in files:
        for batch in read(file, tuple(names), csv=csv):
            if rows + batch.num_rows > most_rows:
                batch, whole = batch.slice(0, most_rows - rows), False
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                _take(seen[name], column)
            rows += batch.num_rows
            if not whole:
                break
        if not whole:
            break
    if not rows:
        raise InvalidTrainingData(str(data), "rows", "none")
    for one in seen.values():
        _settle(one, files[0].name.endswith(CSV_SUFFIXES))
    return Log(
        data, files, csv, form.why if not columns else form.why[: len(form.why) - bool(form.csv.columns)], rows, whole, seen
    )


def _form(file: Path) -> Form:
    if file.name.endswith(CSV_SUFFIXES):
        return csv_form(file)
    if file.name.endswith(".parquet"):
        try:
            return Form(COMMAS, tuple(pq.read_schema(file).names), ())
        except (pa.ArrowException, OSError) as e:
            raise InvalidTrainingData(str(file), "a readable file", str(e).split("\n")[0]) from None
    raise InvalidTrainingData(str(file), "a CSV or Parquet file to learn columns from", file.name)


def _take(seen: Seen, column: pa.Array) -> None:
    """More rows."""
    missing = are_missing(column) if not pa.types.is_nested(column.type) else column.is_null().to_numpy(zero_copy_only=False)
    seen.rows += len(column)
    seen.missing += int(missing.sum())
    known = plain(column.filter(pa.array(~missing)))
    seen.type = seen.type or _type(known.type)
    if pa.types.is_list(known.type) or pa.types.is_large_list(known.type):
        lengths = pc.list_value_length(known)
        seen.longest = max(seen.longest, pc.max(lengths).as_py() or 0)
        known = plain(known.flatten())
    if not len(known) or pa.types.is_nested(known.type):
        return
    if seen.type == "number":
        _sample(seen, known.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
    if not seen.many or seen.type in ("text", ""):
        found = pc.value_counts(known)
        texts = [_text(value) for value in found.field("values").to_pylist()]
        seen.longest = max(seen.longest, *map(len, texts)) if seen.type == "text" else seen.longest
        room = MOST_VALUES - len(seen.counts)
        new = [text for text in texts if text not in seen.counts]
        if len(new) > room:
            seen.many = True
        fits = set(new[: max(room, 0)])
        for text, count in zip(texts, found.field("counts").to_pylist(), strict=True):
            if text in seen.counts or text in fits:
                seen.counts[text] += count
        if seen.type == "text":
            _numbers_in_text(seen, texts)


def _numbers_in_text(seen: Seen, texts: list[str]) -> None:
    found = [text for text in (t.strip() for t in texts) if re.match(NUMERAL, text)]
    step = max(len(found) // SAMPLED, 1)
    seen.sample.append(np.array([float(text) for text in found[::step]], np.float64))
    seen.whole &= all(float(text).is_integer() and abs(float(text)) < INT64 for text in found)
    if len(found) < sum(t not in SILENT + SILENT_AMONG_NUMBERS for t in texts):
        seen.whole = False


def _sample(seen: Seen, values: NDArray[np.float64]) -> None:
    seen.sample.append(values[:: max(len(values) // SAMPLED, 1)])
    finite = values[np.isfinite(values)]
    seen.whole &= bool((finite == np.floor(finite)).all() and (np.abs(finite) < 2.0**53).all())


def _type(kind: Any) -> str:
    if pa.types.is_boolean(kind):
        return "flag"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return "time"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return "list"
    if pa.types.is_null(kind):
        return ""
    return "text" if pa.types.is_string(kind) else str(kind)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _settle(seen: Seen, untyped: bool) -> None:
    """Text that holds something else throughout is that.

    Args:
      untyped: whether all values came as text, as in CSV files; else numbers in text are meant to be codes.
    """
    if seen.type != "text":
        return
    said = [value.strip() for value in seen.counts]
    words = [value for value in said if value not in SILENT + SILENT_AMONG_NUMBERS]
    if untyped and words and all(re.match(NUMERAL, v) and not re.match(LEADING_ZERO, v) for v in words):
        seen.type = "number"
    elif words and all(value.lower() in ("true", "false") for value in words):
        seen.type = "flag"
    elif words and all(re.match(ISO_8601, value) for value in words):
        seen.type = "time"
    elif words and _are_lists(words):
        seen.type, seen.longest = "list", max(len(re.split(r"[|,]", value)) for value in words)
    elif seen.longest > MAX_STRING:
        seen.type = "long text"
    if seen.type != "number":
        seen.sample.clear()


def _are_lists(words: list[str]) -> bool:
    """All of them in brackets, or a good part with bars and none with spaces around these."""
    if all(value.startswith("[") and value.endswith("]") for value in words):
        return True
    barred = [value for value in words if "|" in value]
    return len(barred) >= max(0.2 * len(words), 2) and not any(" | " in value for value in barred)


def is_flag(seen: Seen) -> bool:
    """Whether it says yes or no as a training reads it."""
    values = {value.strip().lower() for value in seen.values}
    return len(values) == 2 and not seen.many and (values <= {*YES, *NO} or values in ({"0", "1"}, {"0.0", "1.0"}))
