"""`make bench-models`: our networks and what they have to beat, on public data; docs/models.md says how to read it.

Models are fitted and chosen on train and valid. Labels of the test rows are sealed, and scored once, at the end.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from benchmarks.models.baselines import BASELINES
from benchmarks.models.datasets import DATA_SETS, Fold, divide, rows_of, with_model
from benchmarks.models.prepare import DATA
from pipelines.logs import logs_to

NETWORKS: dict[str, dict[str, object]] = {
    "dcn_v2": {},
    "shared_bottom": {"head": "shared_bottom"},
    "mmoe": {"head": "mmoe"},
    "ple": {"head": "ple"},
}
"""Model -> what it changes in the market's `[model]`. dcn_v2 is a network per task, the others are one for several tasks."""
COMPARED = ("hist_gradient_boosting", "hist_gradient_boosting_tuned")
METRICS = ("auc", "pr_auc", "log_loss", "pcoc")
Row = dict[str, Any]
Predicted = dict[tuple[str, str], tuple[NDArray[np.float64], float]]
"""(model, task) -> probabilities of the test rows, seconds."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-models ARGS=", description=__doc__)
    parser.add_argument("--data", default=",".join(DATA_SETS), help=f"of {', '.join(DATA_SETS)} (default all)")
    parser.add_argument("--model", default="", help=f"of {', '.join([*BASELINES, *NETWORKS])} (default all that apply)")
    parser.add_argument("--seeds", type=int, default=5, help="splits and fits per model (default 5)")
    parser.add_argument("--source", type=Path, default=DATA, help="folder with the published files (default ../shared/data)")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--rehearse", action="store_true", help="score held-out rows of the past, not the test rows")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change [model] of the networks")
    given = parser.parse_args()
    data, models = _chosen(parser, given.data, DATA_SETS), _chosen(parser, given.model, [*BASELINES, *NETWORKS])
    changes = dict(_key_value(parser, one) for one in given.set)
    if given.seeds < 1:
        parser.error("--seeds must be positive")
    rows: list[Row] = []
    networks = Networks(changes)
    with tempfile.TemporaryDirectory(prefix="offerrank-") as folder:
        for name in data:
            file = rows_of(name, given.source, Path(folder))
            for seed in range(1, given.seeds + 1):
                with logs_to(Path(folder) / "log"):
                    rows += run(name, file, seed, models, networks, rehearse=given.rehearse)
                if given.json:
                    given.json.write_bytes(orjson.dumps(rows, option=orjson.OPT_INDENT_2) + b"\n")
    print(table(rows))


def run(name: str, file: Path, seed: int, models: list[str], networks: "Networks", *, rehearse: bool) -> list[Row]:
    """One split of one data set: everything is fitted and chosen before the first test label is looked at."""
    fold, test = divide(name, file, seed, rehearse=rehearse)
    predicted = {
        **_baselines(fold, [m for m in models or BASELINES if m in BASELINES]),
        **networks.predicted(fold, [m for m in models or NETWORKS if m in NETWORKS]),
    }
    label = {t.name: t.label for t in fold.market.tasks}
    return [
        {"data": name, "model": model, "task": task, **test.score(label[task], p), "seed": seed, "fit_seconds": round(seconds, 1)}
        for (model, task), (p, seconds) in predicted.items()
    ]


def table(rows: list[Row]) -> str:
    """Markdown: mean and standard deviation over seeds, AUC also as the difference to trees of the same seed."""
    lines = [
        "| data | task | model | AUC | to trees | to tuned trees | PR-AUC | log loss | PCOC | fit s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for data, task, model in dict.fromkeys((r["data"], r["task"], r["model"]) for r in rows):
        same_task = [r for r in rows if (r["data"], r["task"]) == (data, task)]
        own = [r for r in same_task if r["model"] == model]
        against = (_mean(_differences(own, [r for r in same_task if r["model"] == other]), "+.4f") for other in COMPARED)
        auc, *measured = (_mean([r[metric] for r in own], ".4f") for metric in METRICS)
        seconds = f"{np.mean([r['fit_seconds'] for r in own]):.0f}"
        lines.append(f"| {' | '.join([data, task, model, auc, *against, *measured, seconds])} |")
    return "\n".join(lines)


def _baselines(fold: Fold, names: list[str]) -> Predicted:
    predicted: Predicted = {}
    for name in names:
        if name == "popularity" and not DATA_SETS[fold.name].popularity:
            continue
        for task in fold.market.tasks:
            started_s = _say(fold, name, task.name)
            predicted[name, task.name] = (BASELINES[name](fold, task.label), time.monotonic() - started_s)
    return predicted


class Networks:
    """Fits ours, perhaps with other keys of `[model]`; TensorFlow is imported for the first of them."""

    def __init__(self, changes: dict[str, object]) -> None:
        self._changes = changes
        self._encode: Any = None

    def predicted(self, fold: Fold, names: list[str]) -> Predicted:
        """Of the networks that apply."""
        tasks = [t.name for t in fold.market.tasks]
        names = [name for name in names if name == "dcn_v2" or len(tasks) > 1]
        predicted: Predicted = {}
        if not names:
            return predicted
        from benchmarks.models.network import Encoder, fit_network

        self._encode = self._encode or Encoder()
        encoded = self._encode(fold)
        for name in names:
            for together in [[task] for task in tasks] if name == "dcn_v2" else [tasks]:
                market = with_model(fold.market, NETWORKS[name] | self._changes, together)
                started_s = _say(fold, name, *together)
                probabilities = fit_network(fold, market, encoded, lambda _: None)
                seconds = time.monotonic() - started_s
                predicted |= {(name, task): (p, seconds) for task, p in probabilities.items()}
        return predicted


def _say(fold: Fold, *what: str) -> float:
    print(f"{fold.name}, seed {fold.market.model.seed}: {' '.join(what)}", file=sys.stderr, flush=True)
    return time.monotonic()


def _differences(own: list[Row], other: list[Row]) -> list[float]:
    by_seed = {r["seed"]: r["auc"] for r in other}
    return [r["auc"] - by_seed[r["seed"]] for r in own if r["seed"] in by_seed]


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
        parser.error(f"--set: expected KEY=VALUE, got {one!r}")
    try:
        return key, orjson.loads(value)
    except orjson.JSONDecodeError:
        return key, value


if __name__ == "__main__":
    main()
