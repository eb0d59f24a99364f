"""Fits the calibrator on `valid`, which the weights have not seen."""

from pathlib import Path

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.artifact import Artifact
from tfx.types.standard_artifacts import Examples, Model
from tfx.utils import path_utils

from features.market import load_market
from pipelines.calibration import fit_calibrator, where_shown
from pipelines.scoring import load_ranker, read_columns, score

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
    fitted = fit_calibrator(market, where_shown(market, valid))
    (Path(calibration.uri) / CALIBRATOR_FILE).write_text(fitted.model_dump_json(indent=2) + "\n", encoding="utf-8")
