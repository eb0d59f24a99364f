"""eval_predictions.parquet: each row that judged a model, as it was, where it stands in the log, and what was predicted of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.market import Market
from features.spec import LOG_ROW, MISSING, VALUE_MICROS
from models.release import EXAMINATION, calibrated_column, judged_column, raw_column
from pipelines.ingest import arrow_schema
from pipelines.log_places import FILE, KEY, ROW, places_of
from pipelines.scoring import Columns


def predictions_of(market: Market, rows: Columns, places: Path) -> pa.Table:
    """Features (null for a missing whole number), labels, what else the rows say, predictions, and the place in the log:
    `log.file`, `log.row`, and by the column that the split goes by, `log.<column>`.

    Args:
      rows: of `eval`, with the predictions.
      places: as `ingest` wrote them.
    """
    kinds = {field.name: field.type for field in arrow_schema(market) if field.name != LOG_ROW}
    kinds |= {raw_column(t.name): pa.float32() for t in market.tasks} | {
        calibrated_column(t.name): pa.float64() for t in market.tasks
    }
    kinds |= {EXAMINATION: pa.float32()} | ({raw_column(VALUE_MICROS): pa.float32()} if market.value else {})
    kinds |= {name: pa.float32() for t in (*(t.name for t in market.tasks), VALUE_MICROS) if (name := judged_column(t)) in rows}
    missing = {f.name for f in market.features if f.dtype == "int" and f.default is None}
    table = {name: _column(rows[name], kind, nulls=name in missing) for name, kind in kinds.items()}
    found = places_of(places, rows[LOG_ROW])
    table |= {f"log.{name}": found[name] for name in (FILE, ROW)}
    if (by := market.training.split.by) is not None:
        table[f"log.{by}"] = found[KEY]
    return pa.table(table)


def _column(values: NDArray[Any], kind: pa.DataType, nulls: bool) -> pa.Array:
    """[N] or [N, W] -> Arrow's; the least whole number, which stands for none, becomes null."""
    mask = (values == MISSING["int"]).ravel() if nulls else None
    if values.ndim == 1:
        return pa.array(values, kind, mask=mask)
    flat = pa.array(values.ravel(), kind.value_type, mask=mask)
    return pa.ListArray.from_arrays(pa.array(np.arange(len(values) + 1) * values.shape[1], pa.int32()), flat)
