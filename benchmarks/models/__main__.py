"""`make bench-models`: our networks and what they have to beat, on public data; docs/models.md says how to read it.

Models are fitted and chosen on train and valid. Labels of the test rows are sealed, and scored once, at the end.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from benchmarks.models.baselines import BASELINES, SEARCHES
from benchmarks.models.datasets import DATA_SETS, Fold, SealedLabels, divide, rows_of, with_model
from benchmarks.models.prepare import DATA
from pipelines.logs import logs_to

ENSEMBLE = "_ensemble"
HEADS = ("separate", "mmoe")
NETWORKS: dict[str, dict[str, object]] = {
    "dcn_v2": {"members": 1},
    "dcn_v2_tuned": {"members": 1},
    **{head: {"head": head, "members": 1} for head in HEADS},
    f"dcn_v2{ENSEMBLE}": {},
    **{head + ENSEMBLE: {"head": head} for head in HEADS},
}
"""Model -> what it changes in the market's `[model]`. dcn_v2 is a network per task, the others are one for several tasks."""
SINGLE, BAG = "hist_gradient_boosting_tuned", "hist_gradient_boosting_bag"
"""What single models and ensembles are held against."""
BY_HAND = 0
METRICS = ("pr_auc", "log_loss", "pcoc")
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says of the test rows, and what it took."""

    p: NDArray[np.float64]
    seconds: float
    settings: int
    """How many were tried on valid; `BY_HAND` where the market's came about in rehearsals."""
    members: int
    """Models whose mean it is."""


Predicted = dict[tuple[str, str], Prediction]
"""By model and task."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-models ARGS=", description=__doc__)
    parser.add_argument("--data", default=",".join(DATA_SETS), help=f"of {', '.join(DATA_SETS)} (default all)")
    parser.add_argument("--model", default="", help=f"of {', '.join([*BASELINES, *NETWORKS])} (default all that apply)")
    parser.add_argument("--seeds", type=int, default=5, help="splits and fits per model (default 5)")
    parser.add_argument("--source", type=Path, default=DATA, help="folder with the published files (default ../shared/data)")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--rehearse", action="store_true", help="score held-out rows of the past, not the test rows")
    parser.add_argument("--numbers", action="append", default=[], metavar="KEY=VALUE", help="how all numbers are encoded")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change [model] of the networks")
    given = parser.parse_args()
    data, models = _chosen(parser, given.data, DATA_SETS), _chosen(parser, given.model, [*BASELINES, *NETWORKS])
    changes, numbers = (dict(_key_value(parser, one) for one in keys) for keys in (given.set, given.numbers))
    if given.seeds < 1:
        parser.error("--seeds must be positive")
    rows: list[Row] = []
    networks = Networks(changes)
    with tempfile.TemporaryDirectory(prefix="offerrank-") as folder:
        for name in data:
            file = rows_of(name, given.source, Path(folder))
            for seed in range(1, given.seeds + 1):
                with logs_to(Path(folder) / "log"):
                    rows += run(name, file, seed, models, networks, rehearse=given.rehearse, numbers=numbers)
                if given.json:
                    given.json.write_bytes(orjson.dumps(rows, option=orjson.OPT_INDENT_2) + b"\n")
    print(table(rows))


def run(
    name: str, file: Path, seed: int, models: list[str], networks: "Networks", *, rehearse: bool, numbers: dict[str, object]
) -> list[Row]:
    """One split of one data set: everything is fitted and chosen before the first test label is looked at."""
    fold, test = divide(name, file, seed, rehearse=rehearse, numbers=numbers)
    predicted = {
        **_baselines(fold, [m for m in models or BASELINES if m in BASELINES]),
        **networks.predicted(fold, [m for m in models or NETWORKS if m in NETWORKS]),
    }
    return scored(fold, test, seed, predicted)


def scored(fold: Fold, test: SealedLabels, seed: int, predicted: Predicted) -> list[Row]:
    """Metrics of each model, and how far it is ahead of the trees of its kind, if they are among the models."""
    label = {t.name: t.label for t in fold.market.tasks}
    rows = []
    for (model, task), of in predicted.items():
        row: Row = {"data": fold.name, "model": model, "task": task, "members": of.members, "settings": of.settings}
        row |= {**test.score(label[task], of.p), "seed": seed, "fit_seconds": round(of.seconds, 1)}
        trees = predicted.get((BAG if of.members > 1 else SINGLE, task))
        rows.append(row | ({} if trees is None or trees is of else test.ahead(label[task], of.p, trees.p)))
    return rows


def table(rows: list[Row]) -> str:
    """Markdown, single models before ensembles: mean and deviation over seeds, beside them the interval of one test set."""
    columns = ["data", "task", "of", "model", "tried", "AUC", "one test set", "to the trees", "one test set", "PR-AUC"]
    columns += ["log loss", "PCOC", "fit s"]
    lines = [f"| {' | '.join(columns)} |", f"| {' | '.join('---' for _ in columns)} |"]
    kinds = dict.fromkeys((r["data"], r["task"], r["members"] > 1, r["model"]) for r in rows)
    for data, task, several, model in sorted(kinds, key=lambda kind: (kind[0], kind[1], kind[2])):
        own = [r for r in rows if (r["data"], r["task"], r["model"]) == (data, task, model)]
        ahead = [r for r in own if r.get("ahead") is not None]
        cells = [data, task, str(own[0]["members"]) if several else "one", model, str(own[0]["settings"] or "by hand")]
        cells += [_mean([r["auc"] for r in own], ".4f"), _half_width(own, "auc_low", "auc_high")]
        cells += [_mean([r["ahead"] for r in ahead], "+.4f"), _half_width(ahead, "ahead_low", "ahead_high")]
        cells += [_mean([r[metric] for r in own], ".4f") for metric in METRICS]
        cells.append(f"{np.mean([r['fit_seconds'] for r in own]):.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _baselines(fold: Fold, names: list[str]) -> Predicted:
    predicted: Predicted = {}
    for name in names:
        if name == "popularity" and not DATA_SETS[fold.name].popularity:
            continue
        for task in fold.market.tasks:
            started_s, baseline = _say(fold, name, task.name), BASELINES[name]
            p = baseline.fit(fold, task.label)
            predicted[name, task.name] = Prediction(p, time.monotonic() - started_s, baseline.settings, baseline.members)
    return predicted


class Networks:
    """Fits ours, perhaps with other keys of `[model]`; TensorFlow is imported for the first of them."""

    def __init__(self, changes: dict[str, object]) -> None:
        self._changes = changes
        self._encode: Any = None

    def predicted(self, fold: Fold, names: list[str]) -> Predicted:
        """Of the networks that apply."""
        tasks = [t.name for t in fold.market.tasks]
        names = [name for name in names if name.startswith("dcn_v2") or len(tasks) > 1]
        names = [name for name in names if not name.endswith(ENSEMBLE) or fold.market.model.members > 1]
        predicted: Predicted = {}
        if not names:
            return predicted
        from benchmarks.models.network import Encoder, fit_network, searched

        self._encode = self._encode or Encoder()
        encoded = self._encode(fold)
        for name in names:
            for together in [[task] for task in tasks] if name.startswith("dcn_v2") else [tasks]:
                market = with_model(fold.market, NETWORKS[name] | self._changes, together)
                started_s, settings = _say(fold, name, *together), BY_HAND
                if name == "dcn_v2_tuned":
                    market, settings = searched(market, encoded, SEARCHES), SEARCHES
                probabilities = fit_network(fold, market, encoded, lambda _: None)
                seconds, members = time.monotonic() - started_s, market.model.members
                predicted |= {(name, task): Prediction(p, seconds, settings, members) for task, p in probabilities.items()}
        return predicted


def _say(fold: Fold, *what: str) -> float:
    print(f"{fold.name}, seed {fold.market.model.seed}: {' '.join(what)}", file=sys.stderr, flush=True)
    return time.monotonic()


def _half_width(rows: list[Row], low: str, high: str) -> str:
    """Of the intervals at 95 %, mean over seeds: splits of one data set share their rows, so no number of them narrows it."""
    widths = [(r[high] - r[low]) / 2 for r in rows if r[low] is not None]
    return f"± {np.mean(widths):.4f}" if widths else "-"


def _mean(values: list[float], form: str) -> str:
    if not values:
        return "-"
    spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):{form}}{spread}"


def _chosen(parser: argparse.ArgumentParser, given: str, known: Iterable[str]) -> list[str]:
    names = [name for name in given.split(",") if name]
    for name in names:
        if name not in known:
            parser.error(f"{name!r} is none of {', '.join(known)}")
    return names


def _key_value(parser: argparse.ArgumentParser, one: str) -> tuple[str, object]:
    key, found, value = one.partition("=")
    if not found:
        parser.error(f"expected KEY=VALUE, got {one!r}")
    try:
        return key, orjson.loads(value)
    except orjson.JSONDecodeError:
        return key, value


if __name__ == "__main__":
    main()
