"""Fits the calibrator on `valid`, which the weights have not seen."""

from pathlib import Path

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.artifact import Artifact
from tfx.types.standard_artifacts import Examples, Model
from tfx.utils import path_utils

from features.market import Market, load_market
from models.calibration import Calibrator as Calibration
from models.calibration import Platt
from models.release import calibrated_column, raw_column
from pipelines.scoring import Columns, counting, load_ranker, read_columns, score

CALIBRATOR_FILE = "calibrator.json"


class FittedCalibration(Artifact):
    """calibrator.json."""

    TYPE_NAME = "FittedCalibration"


@component
def Calibrator(  # noqa: N802
    model: InputArtifact[Model],
    examples: InputArtifact[Examples],
    calibration: OutputArtifact[FittedCalibration],
    market_file: Parameter[str],
) -> None:
    """One calibration per task."""
    market = load_market(Path(market_file))
    valid = read_columns(market, examples.uri, "valid")
    valid |= score(market, load_ranker(path_utils.serving_model_path(model.uri)), valid)
    fitted = fit(market, valid)
    (Path(calibration.uri) / CALIBRATOR_FILE).write_text(fitted.model_dump_json(indent=2) + "\n", encoding="utf-8")


def fit(market: Market, valid: Columns) -> Calibration:
    """One calibration per task, over the rows that count."""
    fitted = {}
    for t in market.tasks:
        counts = counting(t, valid)
        fitted[t.name] = Platt.fit(valid[t.label][counts], valid[raw_column(t.name)][counts])
    return Calibration(tasks=fitted)


def calibrate(market: Market, calibrator: Calibration, columns: Columns) -> None:
    """Adds the calibrated probabilities to columns that have the raw ones."""
    for t in market.tasks:
        columns[calibrated_column(t.name)] = calibrator.apply(t.name, columns[raw_column(t.name)])
