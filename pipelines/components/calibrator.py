"""Fits the calibrator to rows that the model scored when it had not learned from them."""

from pathlib import Path

import numpy as np
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Examples, Model, ModelEvaluation
from tfx.utils import path_utils

from features.market import load_market
from features.spec import LOG_ROW
from models.calibration import Calibrator as Fitted
from models.release import CALIBRATOR, PROGRESSIVE
from pipelines.calibration import fit_calibrator, where_shown
from pipelines.progressive import calibrate_in_time, carried_rows, scores_of
from pipelines.scoring import load_ranker, score
from pipelines.split_columns import split_columns

CALIBRATOR_FILE = "calibrator.json"
CALIBRATED_FILE = "calibrated.npz"


@component
def Calibrator(  # noqa: N802
    model: InputArtifact[Model],
    examples: InputArtifact[Examples],
    calibration: OutputArtifact[ModelEvaluation],
    market_file: Parameter[str],
    previous: Parameter[str] = "",
) -> None:
    """One calibration per task; `previous` is the release that the training goes on from, if any.

    Of a progressive pass also the rows of `eval`, each calibrated by what came before it: calibrated.npz.
    """
    market, saved = load_market(Path(market_file)), Path(path_utils.serving_model_path(model.uri))
    former = Fitted.model_validate_json((Path(previous) / CALIBRATOR).read_bytes()) if previous else None
    if (scores := saved / PROGRESSIVE).exists():
        rows = split_columns(market, examples.uri, "eval")
        rows |= scores_of(scores, "eval", rows)
        if previous:
            before = carried_rows(market, Path(previous).parent, int(Path(previous).name))
        else:
            valid = split_columns(market, examples.uri, "valid")
            before = where_shown(market, valid | scores_of(scores, "valid", valid))
        fitted, calibrated = calibrate_in_time(market, where_shown(market, rows), before, former)
        np.savez(Path(calibration.uri) / CALIBRATED_FILE, **{LOG_ROW: rows[LOG_ROW]}, **calibrated)
    else:
        valid = split_columns(market, examples.uri, "valid")
        valid |= score(market, load_ranker(str(saved)), valid)
        fitted = fit_calibrator(market, where_shown(market, valid), former)
    (Path(calibration.uri) / CALIBRATOR_FILE).write_text(fitted.model_dump_json(indent=2) + "\n", encoding="utf-8")
