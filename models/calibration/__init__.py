"""Turns a model's probabilities into ones an auction can price with. NumPy only: the gateway applies it per request.

    logit(q) = curve(logit(p)) + shift of the row's slices

`curves` are monotone, `selection` chooses among them by cross-validated log loss, `slices` has the shifts, `logistic` the one
fit behind most of them.
"""

from models.calibration.calibrator import Calibrator, TaskCalibration
from models.calibration.curves import Beta, Isotonic, Platt, Spline
from models.calibration.logistic import logit, sigmoid

__all__ = ["Beta", "Calibrator", "Isotonic", "Platt", "Spline", "TaskCalibration", "logit", "sigmoid"]
