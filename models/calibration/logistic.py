"""Logistic regression with a normal prior and lower bounds: what Platt, beta and spline calibration are on different columns."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Probabilities = NDArray[np.float32] | Floats
Labels = NDArray[np.int64]

EPSILON = 1e-7
MAX_STEPS = 100


def logit(p: Probabilities) -> Floats:
    """log(p / (1 - p)), p cut to [1e-7, 1 - 1e-7]."""
    cut = np.clip(np.asarray(p, np.float64), EPSILON, 1 - EPSILON)
    return np.log(cut) - np.log1p(-cut)


def sigmoid(z: Floats) -> Floats:
    """1 / (1 + e^-z), without overflow."""
    return np.exp(-np.logaddexp(0.0, -z))


def fit_logistic(x: Floats, y: Floats, offset: float, prior: Floats, precision: Floats, lower: Floats) -> Floats:
    """The most probable coefficients, by damped Newton steps over those that are free to move; the same input, the same output.

        logit(q) = offset + x theta,   theta >= lower
        minimal: sum of log losses + sum_k precision_k / 2 (theta_k - prior_k)^2

    Args:
      x: [R, K]; R may be 0.
      y: [R], 0 or 1.
      prior, precision, lower: [K], precision > 0, prior >= lower.
    Returns:
      theta [K], the only optimum: the objective is strictly convex.
    Source: Bertsekas (1982), Projected Newton methods for optimization problems with simple constraints.
    """

    def objective(theta: Floats) -> float:
        margin = offset + x @ theta
        return float(np.sum(np.logaddexp(0.0, margin) - y * margin) + np.sum(precision / 2 * (theta - prior) ** 2))

    theta, best = prior, objective(prior)
    for _ in range(MAX_STEPS):
        q = sigmoid(offset + x @ theta)
        gradient = np.dot(q - y, x) + precision * (theta - prior)
        hessian = (x * (q * (1 - q))[:, None]).T @ x + np.diag(precision)
        step = _newton_step(gradient, hessian, at_bound=theta <= lower)
        scale = 1.0
        while (tried := objective(np.maximum(theta - scale * step, lower))) > best and scale > 1e-6:
            scale /= 2
        if tried > best:
            break
        theta, gained = np.maximum(theta - scale * step, lower), best - tried
        best = tried
        if gained <= 1e-12 * (1 + abs(best)):
            break
    return theta


def _newton_step(gradient: Floats, hessian: Floats, at_bound: NDArray[np.bool_]) -> Floats:
    """Newton's step, 0 for coefficients that it would push through their bound: what is left descends."""
    free = ~at_bound | (gradient < 0)
    while True:
        step = np.zeros_like(gradient)
        step[free] = np.linalg.solve(hessian[np.ix_(free, free)], gradient[free])
        outward = at_bound & (step > 0)
        if not outward.any():
            return step
        free &= ~outward
