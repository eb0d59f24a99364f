"""The rows of one turn of `offerrank retrain`, as files that its training reads."""

from dataclasses import dataclass
from pathlib import Path

from domain.doubted import Doubted
from features.market import Market
from models.release import FinalLabels, LeftOut, Release
from pipelines.examples import write_training_rows
from pipelines.new_rows import write_new_rows


@dataclass(frozen=True, slots=True)
class TurnRows:
    """What is learned in a turn, and how."""

    data: Path | None
    """Rows to fit a new model to; none where a release goes on."""
    new: Path | None
    """Rows to judge first, and learn then; none without a release that they are new to."""
    rows: int
    through_ms: int
    labels: FinalLabels | None
    left_out: tuple[LeftOut, ...]
    """In this turn and those that the release in service goes back to."""
    said: tuple[str, ...]
    """What to tell."""


def lay_by(
    market: Market,
    log_dir: Path,
    now_ms: int,
    folder: Path,
    service: Release | None,
    *,
    anew: bool,
    doubted: Doubted = Doubted.REFUSE,
) -> TurnRows:
    """Writes the rows that a turn learns from into a folder.

    A training anew first fits what the release in service has learned, and then meets the same new rows as one that goes on from
    it: either is judged on them before it learns them, so on rows that neither has seen.

    Args:
      service: the release in service, if it can be asked, and says what it has learned.
    Raises:
      InvalidTrainingData: of it NothingToLearn, if there is too little yet.
      LabelsDoubted: the release in service does not believe the new labels.
    """
    data = folder / "rows.parquet"
    if service is None:
        report = write_training_rows(market, log_dir, now_ms, data)
        return TurnRows(data, None, report.rows, report.newest_ms, report.labels, (), (report.sentence, report.used.sentence))
    new = write_new_rows(market, log_dir, now_ms, service, folder / "new.parquet", doubted)
    report, made = new.report, service.manifest
    said = [
        report.sentence,
        report.used.sentence,
        *(f"left out: {span.why}" for span in new.left_out),
        *(f"{task} waits: {n.positives:,} positives in {n.rows:,} rows" for task, n in new.waiting.items()),
    ]
    rows, through_ms = report.rows, max(report.newest_ms, made.trained_through_ms or 0)
    if anew:
        learned = write_training_rows(market, log_dir, now_ms, data, through=made)
        rows += learned.rows
        said.append(f"{learned.rows:,} impressions that release {service.version} has learned from, before them")
    left_out = (*made.left_out, *new.left_out)
    return TurnRows(data if anew else None, folder / "new.parquet", rows, through_ms, report.labels, left_out, tuple(said))
