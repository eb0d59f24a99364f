"""Fits the calibrator on `valid`, which the weights have not seen."""

from pathlib import Path

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Examples, Model, ModelEvaluation
from tfx.utils import path_utils

from features.market import load_market
from models.calibration import Calibrator as Fitted
from models.release import CALIBRATOR
from pipelines.calibration import fit_calibrator, where_shown
from pipelines.scoring import load_ranker, read_columns, score

CALIBRATOR_FILE = "calibrator.json"


@component
def Calibrator(  # noqa: N802
    model: InputArtifact[Model],
    examples: InputArtifact[Examples],
    calibration: OutputArtifact[ModelEvaluation],
    market_file: Parameter[str],
    previous: Parameter[str] = "",
) -> None:
    """One calibration per task; `previous` is the release that the training goes on from, if any."""
    market = load_market(Path(market_file))
    valid = read_columns(market, examples.uri, "valid")
    valid |= score(market, load_ranker(path_utils.serving_model_path(model.uri)), valid)
    former = Fitted.model_validate_json((Path(previous) / CALIBRATOR).read_bytes()) if previous else None
    fitted = fit_calibrator(market, where_shown(market, valid), former)
    (Path(calibration.uri) / CALIBRATOR_FILE).write_text(fitted.model_dump_json(indent=2) + "\n", encoding="utf-8")
