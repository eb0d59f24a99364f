"""What a release's rows of training were like, in the summaries that serving is kept in, so that the two can be held together.

Of a release's files it takes those rows that were held out for its report, `assets.extra/eval_predictions.parquet`: features as
the training pipeline wrote them, and the calibrated probabilities that the release had for them. They are of the same log as the
rows it learned from, where rows are split at random; the latest of them, where they are split by time.
"""

import logging
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.log_schema import contiguous
from features.market import Market
from features.spec import MISSING, FeatureSpec
from monitoring.summaries import NumberColumn, Series, Summary
from monitoring.watch.store import MonitorStore
from monitoring.watch.traffic import feature_column

log = logging.getLogger("offerrank.watch")
ROWS: Final = "assets.extra/eval_predictions.parquet"
MOST_ROWS: Final = 200_000


def take_baselines(market: Market, releases: Path | None, store: MonitorStore) -> None:
    """Of each release that has decided and was not looked at; one that has none is named, and the rest goes on."""
    if releases is None:
        return
    for release in store.without_baseline():
        if not (releases / release).is_dir():
            continue  # `cold-start`; or not there yet, and looked for again
        try:
            found, trouble = _summaries(market, releases / release / ROWS), ""
        except (pa.ArrowException, OSError, ValueError) as e:
            found, trouble = {}, f"its rows cannot be read: {str(e).splitlines()[0]}"
            log.warning("release %s is compared with nothing: %s", release, trouble)
        with store.writing():
            store.add_baseline(release, found, trouble)


def _summaries(market: Market, path: Path) -> dict[Series, Summary]:
    with pq.ParquetFile(path) as file:
        has = set(file.schema_arrow.names)
        features = [f for f in market.features if f.name in has]
        tasks = [t.name for t in market.served_tasks if f"calibrated.{t.name}" in has]
        rows = file.read([*(f.name for f in features), *(f"calibrated.{task}" for task in tasks)])
    if len(rows) > MOST_ROWS:
        rows = rows.take(pa.array(np.sort(np.random.default_rng(0).choice(len(rows), MOST_ROWS, replace=False))))
    everyone = np.zeros(len(rows), np.int64)
    columns = {Series("feature", f.name): feature_column(f, _as_logged(f, contiguous(rows[f.name]))) for f in features}
    columns |= {Series("probability", task): NumberColumn.of_rows(rows[f"calibrated.{task}"].to_numpy()) for task in tasks}
    return {series: summary for series, column in columns.items() for _, summary in column.by_group(everyone, 1)}


def _as_logged(feature: FeatureSpec, column: pa.Array) -> pa.Array:
    """Null for what stands in training rows for a missing value, and lists without what fills them up."""
    fill = MISSING[feature.dtype] if feature.multiple or feature.default is None else None
    if fill is None or fill != fill:
        return column
    if not pa.types.is_list(column.type):
        return pc.if_else(pc.equal(column, pa.scalar(fill, column.type)), pa.scalar(None, column.type), column)
    kept = pc.not_equal(pc.list_flatten(column), pa.scalar(fill, column.type.value_type))
    row = pc.list_parent_indices(column).filter(kept).to_numpy(zero_copy_only=False)
    offsets = np.searchsorted(row, np.arange(len(column) + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pc.list_flatten(column).filter(kept))
