"""Predictions against the truth, and the table of them."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.table import Table

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Score:
    """What one model reached with one seed."""

    model: str
    seed: int
    metrics: dict[str, float]
    """In the order of the table's columns."""
    by_decile: tuple[float, ...] = ()
    """PCOC of each tenth of the impressions, in ascending order of their true pCTR."""


def log_loss_to_truth(truth: Array, p: Array) -> float:
    """Expected log loss of labels drawn with probability `truth`, in nats; least, the entropy of the truth, for p = truth."""
    return float(-np.mean(truth * np.log(p) + (1 - truth) * np.log1p(-p)))


def judged(kind: str, truth: Array, p: Array) -> dict[str, float]:
    """The metrics of one kind of rows."""
    return {
        f"log loss, {kind}": log_loss_to_truth(truth, p),
        f"excess, {kind}": excess(truth, p),
        f"PCOC, {kind}": pcoc_to_truth(truth, p),
    }


def excess(truth: Array, p: Array) -> float:
    """Log loss above that of the truth itself, in thousandths of a nat: the mean Kullback-Leibler divergence."""
    return 1000 * (log_loss_to_truth(truth, p) - log_loss_to_truth(truth, truth))


def pcoc_to_truth(truth: Array, p: Array) -> float:
    """sum p / sum truth."""
    return float(p.sum() / truth.sum())


def pcoc_by_decile(order: Array, truth: Array, p: Array) -> tuple[float, ...]:
    """PCOC of each tenth of the rows, in ascending `order`."""
    return tuple(pcoc_to_truth(truth[rows], p[rows]) for rows in np.array_split(np.argsort(order, kind="stable"), 10))


def table(title: str, scores: Iterable[Score]) -> Table:
    """A row per model in the order given, mean and standard deviation over its seeds."""
    by_model: dict[str, list[Score]] = {}
    for score in scores:
        by_model.setdefault(score.model, []).append(score)
    seeds = max(map(len, by_model.values()))
    drawn = Table(title=f"{title} ({seeds} seed{'s' * (seeds > 1)})", box=box.SIMPLE, title_justify="left")
    drawn.add_column("model", no_wrap=True)
    for name in next(iter(by_model.values()))[0].metrics:
        drawn.add_column(name, justify="right")
    for model, own in by_model.items():
        cells = []
        for name in own[0].metrics:
            values = [score.metrics[name] for score in own]
            cells.append(f"{statistics.fmean(values):.4g} ± {statistics.stdev(values) if len(values) > 1 else 0:.2g}")
        drawn.add_row(model, *cells)
    return drawn


def decile_table(title: str, scores: Iterable[Score]) -> Table:
    """PCOC by decile, a row per model, mean over its seeds."""
    drawn = Table(title=title, box=box.SIMPLE, title_justify="left")
    drawn.add_column("model", no_wrap=True)
    for i in range(10):
        drawn.add_column(str(i + 1), justify="right")
    by_model: dict[str, list[tuple[float, ...]]] = {}
    for score in scores:
        by_model.setdefault(score.model, []).append(score.by_decile)
    for model, own in by_model.items():
        drawn.add_row(model, *(f"{statistics.fmean(values):.2f}" for values in zip(*own, strict=True)))
    return drawn


def beats(scores: list[Score], better: str, worse: str, metric: str) -> str:
    """One line: whether a model has the lower metric, on average and in how many seeds."""
    values = [{s.seed: s.metrics[metric] for s in scores if s.model == name} for name in (better, worse)]
    differences = [values[1][seed] - values[0][seed] for seed in values[0]]
    won, mean = sum(d > 0 for d in differences), statistics.fmean(differences)
    verdict = "is borne out" if mean > 0 else "is NOT borne out"
    return (
        f"{better!r} below {worse!r} in {metric}: {verdict}; lower by {mean:.3g} on average, in {won} of {len(differences)} seeds"
    )
