"""What conversions were worth against what was predicted of them, of rows that judge a model."""

import numpy as np

from features.market import Market
from features.spec import VALUE_MICROS
from models.clusters import Clusters, of_rows
from models.release import calibrated_column, raw_column
from models.value_metrics import ValueEvaluation
from pipelines.calibration import Columns, usable


def evaluated_values(market: Market, rows: Columns, shown_to: Clusters) -> ValueEvaluation | None:
    """Of rows [R] with their predictions, where they were shown; None where the market asks for no values, or none is known."""
    sale = market.conversion_task
    if market.value is None or sale is None or (predicted := rows.get(raw_column(VALUE_MICROS))) is None:
        return None
    click, final = market.tasks[0], usable(sale, rows)
    micros = rows[VALUE_MICROS][final].astype(np.float64)
    p = rows[calibrated_column(click.name)] * rows[calibrated_column(sale.name)]
    converted = (rows[click.label] == 1) & (rows[sale.label] == 1)
    return ValueEvaluation.of(
        np.where(micros < 0, np.nan, micros),
        predicted[final].astype(np.float64),
        p[final].astype(np.float64),
        converted[final],
        of_rows(shown_to, final),
    )
