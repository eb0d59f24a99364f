"""The folder that a pipeline works in, and what is laid out there before it runs.

market.toml    the market as it was when the run began
rows/<split>/  checked rows
rows/places.parquet  where those of `eval` stand in the log
origin.json    where they come from, for the release's manifest
used.json      what they hold, for the evaluation
schema.pbtxt   the schema that the market implies
transform/     for a warm start: the former Transform graph, its vocabularies grown
serving/       for the model server that is started before there is a release for it
artifacts/, metadata.sqlite, train.log
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from features.market import load_market
from models.release import FinalLabels, LeftOut, Origin, Release
from pipelines.ingest import PLACES, Ingested, ingest
from pipelines.splits import held_out


@dataclass(frozen=True, slots=True)
class Workplace:
    """Names of what is in the folder."""

    path: Path

    @property
    def market(self) -> Path:
        """A copy that nobody edits."""
        return self.path / "market.toml"

    @property
    def rows(self) -> Path:
        """A folder per split."""
        return self.path / "rows"

    @property
    def places(self) -> Path:
        """See `pipelines.log_places`."""
        return self.rows / PLACES

    @property
    def origin(self) -> Path:
        """A `models.release.Origin`."""
        return self.path / "origin.json"

    @property
    def used(self) -> Path:
        """A `models.evaluation.DataUsed`."""
        return self.path / "used.json"

    @property
    def schema(self) -> Path:
        """A TFX schema as text."""
        return self.path / "schema.pbtxt"

    @property
    def transform(self) -> Path:
        """A TransformGraph."""
        return self.path / "transform"

    @property
    def metadata(self) -> Path:
        """The run's own ML Metadata; `pipelines.metadata_store` files it where it stays."""
        return self.path / "metadata.sqlite"

    def outputs(self, component: str, key: str) -> Path:
        """Folder of the one artifact that a component made under a key."""
        return next((self.path / "artifacts" / component / key).iterdir())

    def clear(self) -> None:
        """Removes what an earlier `lay_out` left, where a pipeline has the same folder for each run."""
        shutil.rmtree(self.rows, ignore_errors=True)
        for path in (self.market, self.origin, self.used, self.schema):
            path.unlink(missing_ok=True)
        self.path.mkdir(parents=True, exist_ok=True)

    def lay_out(
        self,
        market_path: Path,
        data: Path | None,
        through_ms: int | None = None,
        labels: FinalLabels | None = None,
        previous: Release | None = None,
        new: Path | None = None,
        left_out: tuple[LeftOut, ...] = (),
    ) -> Ingested:
        """Checks and splits the rows, and notes where they come from; TensorFlow-free for CSV and Parquet.

        Args:
          through_ms, labels: of the rows' `JoinReport`, if they come from the log.
          previous: the release that a training on them goes on from.
          new: rows to judge first and learn then, that the release in service has not learned from; `data` is what it has.
          left_out: what the training, and those before it, leave out.
        Raises:
          InvalidMarket, InvalidTrainingData: the market or the data cannot be used.
        """
        market = load_market(market_path)
        shutil.copy(market_path, self.market)
        ingested = ingest(market, data, self.rows, continuing=previous is not None, new=new)
        places = None if new or ingested.keyless else held_out(market.training.split, market.model.seed)
        origin = Origin(
            rows=ingested.rows,
            progressive=new is not None,
            left_out=left_out,
            trained_through_ms=through_ms,
            labels=labels,
            held_out=places,
        )
        if previous is not None:
            former = previous.manifest
            origin = origin.model_copy(
                update={
                    "trained_through_ms": max(through_ms or 0, former.trained_through_ms or 0) or None,
                    "held_out": places if places == former.held_out else None,
                    "warm_from": former.version,
                    "full_ms": former.full_ms or former.created_ms,
                }
            )
        self.origin.write_text(origin.model_dump_json(indent=2) + "\n", encoding="utf-8")
        self.used.write_text(ingested.used().model_dump_json(indent=2) + "\n", encoding="utf-8")
        return ingested
