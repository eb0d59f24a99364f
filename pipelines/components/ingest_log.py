"""Lays rows out inside a pipeline that an orchestrator runs; `offerrank train` does so before it loads TFX."""

import tempfile
from pathlib import Path

from tfx.dsl.component.experimental.annotations import Parameter
from tfx.dsl.component.experimental.decorators import component

from domain.clock import now_ms
from features.market import load_market
from pipelines.examples import write_training_rows
from pipelines.schema import write_schema
from pipelines.workplace import Workplace


@component
def IngestLog(market_file: Parameter[str], log_dir: Parameter[str], work: Parameter[str]) -> None:  # noqa: N802
    """Joins the archive into `work`, in place of what an earlier run left there.

    Raises:
      InvalidMarket, InvalidTrainingData: the market or the log cannot be used.
    """
    place = Workplace(Path(work))
    market = load_market(Path(market_file))
    place.clear()
    with tempfile.TemporaryDirectory(prefix="offerrank-") as folder:
        rows = Path(folder) / "rows.parquet"
        report = write_training_rows(market, Path(log_dir), now_ms(), rows)
        place.lay_out(Path(market_file), rows, report.newest_ms, report.labels)
    write_schema(market, place.schema)
