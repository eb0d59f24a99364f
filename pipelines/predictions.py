"""eval_predictions.parquet: each row that judged a model, as it was, where it stands in the log, and what was predicted of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.market import Market
from features.spec import LOG_ROW, MISSING, VALUE_MICROS
from models.release import EXAMINATION, calibrated_column, judged_column, raw_column
from pipelines.ingest import arrow_schema
from pipelines.log_places import FILE, KEY, ROW, NotedPlaces
from pipelines.split_columns import Columns, in_batches

LOG = "log."
"""Before the names of columns that say where a row stands in the log; no feature has a dot in its name."""


def write_predictions(market: Market, rows: Columns, places: Path, to: Path) -> None:
    """Features (null for a missing whole number), labels, what else the rows say, predictions, and the place in the log:
    `log.file`, `log.row`, and by the column that the split goes by, `log.<column>`; some rows at a time.

    Args:
      rows: of `eval`, with the predictions.
      places: as `ingest` wrote them.
    """
    schema = _schema(market, rows)
    missing = {f.name for f in market.features if f.dtype == "int" and f.default is None}
    by = market.training.split.by
    with NotedPlaces(places) as noted, pq.ParquetWriter(to, schema) as writer:
        own = [name for name in schema.names if not name.startswith(LOG)]
        for batch in in_batches(rows, [*own, LOG_ROW]):
            columns = [_column(batch[name], schema.field(name).type, nulls=name in missing) for name in own]
            found = noted.of(batch[LOG_ROW])
            columns += [found[name] for name in (FILE, ROW)] + ([found[KEY]] if by is not None else [])
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def _schema(market: Market, rows: Columns) -> pa.Schema:
    kinds = {field.name: field.type for field in arrow_schema(market) if field.name != LOG_ROW}
    kinds |= {raw_column(t.name): pa.float32() for t in market.tasks}
    kinds |= {calibrated_column(t.name): pa.float64() for t in market.tasks}
    kinds |= {EXAMINATION: pa.float32()} | ({raw_column(VALUE_MICROS): pa.float32()} if market.value else {})
    kinds |= {name: pa.float32() for t in (*(t.name for t in market.tasks), VALUE_MICROS) if (name := judged_column(t)) in rows}
    kinds |= {f"{LOG}{FILE}": pa.string(), f"{LOG}{ROW}": pa.int64()}
    if (by := market.training.split.by) is not None:
        kinds[f"{LOG}{by}"] = pa.string()
    return pa.schema(list(kinds.items()))


def _column(values: NDArray[Any], kind: pa.DataType, nulls: bool) -> pa.Array:
    """[N] or [N, W] -> Arrow's; the least whole number, which stands for none, becomes null."""
    mask = (values == MISSING["int"]).ravel() if nulls else None
    if values.ndim == 1:
        return pa.array(values, kind, mask=mask)
    flat = pa.array(values.ravel(), kind.value_type, mask=mask)
    return pa.ListArray.from_arrays(pa.array(np.arange(len(values) + 1) * values.shape[1], pa.int32()), flat)
