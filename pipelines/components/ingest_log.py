"""Lays rows out inside a pipeline that an orchestrator runs; `offerrank train` does so before it loads TFX."""

import tempfile
from pathlib import Path

from tfx.dsl.component.experimental.annotations import Parameter
from tfx.dsl.component.experimental.decorators import component

from domain.clock import now_ms
from features.market import load_market
from pipelines.freshness import release_in_service
from pipelines.schema import write_schema
from pipelines.turn_rows import lay_by
from pipelines.workplace import Workplace


@component
def IngestLog(  # noqa: N802
    market_file: Parameter[str], log_dir: Parameter[str], work: Parameter[str], releases: Parameter[str]
) -> None:
    """Joins the archive into `work`, in place of what an earlier run left there.

    Raises:
      InvalidMarket, InvalidTrainingData: the market or the log cannot be used.
    """
    place = Workplace(Path(work))
    market = load_market(Path(market_file))
    place.clear()
    service = release_in_service(market, Path(releases))
    with tempfile.TemporaryDirectory(prefix="offerrank-") as folder:
        rows = lay_by(market, Path(log_dir), now_ms(), Path(folder), service, anew=True)
        place.lay_out(Path(market_file), rows.data, rows.through_ms, rows.labels, new=rows.new, left_out=rows.left_out)
    write_schema(market, place.schema)
