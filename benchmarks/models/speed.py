"""`make bench-speed`: an epoch of the ranker against the same without an input pipeline, and against PyTorch.

Rows are random, of Criteo's shape: 26 looked-up features and 13 numbers. Each measurement has a process and all cores to itself;
they take turns, and of each the quickest epoch counts, since others on the machine only ever add to it.
PyTorch is no dependency of the project: without it its line is left out.

`--tables`: CPU of a step by the size of the embedding table, with Adam, which moves all of it, and with what training uses.
"""

import argparse
import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.models.prepare import REPOSITORY

FEATURES, VOCABULARY, NUMBERS = 26, 1000, 13
EPOCHS = 5  # of which the first, with its tracing, does not count
ROUNDS = 3
MODEL: dict[str, Any] = {
    "structure": "stacked",
    "cross_layers": 2,
    "projection_dim": None,
    "hidden_units": (256, 128),
    "embedding_dim": 16,
    "dropout": 0.1,
    "input_dropout": 0.0,
    "l2": 0.0,
    "embedding_l2": 0.0,
    "learning_rate": 1e-3,
    "batch_size": 512,
}
SEED = 1
TABLES = (1_000, 1_000_000, 10_000_000)
STEP_ROWS, STEP_EPOCHS = 4 * 512, 3
STEP_MODEL = MODEL | {"embedding_dim": 8}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-speed ARGS=", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="in an epoch (default 100000)")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--tables", action="store_true", help="a step by the size of the table instead")
    parser.add_argument("--measure", choices=sorted(MEASURES | STEPS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print((MEASURES | STEPS)[given.measure](given.rows))
        return
    if given.tables:
        _steps(given.json)
        return
    names = [name for name in MEASURES if name != "torch" or importlib.util.find_spec("torch")]
    rounds = [{name: _in_a_process(name, given.rows) for name in names} for _ in range(ROUNDS)]
    seconds = {name: min(took[name] for took in rounds) for name in names}
    print("| an epoch of DCN-V2 | seconds | rows per second |\n| --- | --- | --- |")
    for name, took in seconds.items():
        print(f"| {name} | {took:.2f} | {given.rows / took:,.0f} |")
    print(f"\nThe input pipeline costs {seconds['pipeline'] / seconds['memory'] - 1:.0%} over the model alone.")
    if "torch" in seconds:
        print(f"PyTorch takes {seconds['torch'] / seconds['pipeline']:.2f} times as long.")
    if given.json:
        given.json.write_bytes(orjson.dumps(seconds, option=orjson.OPT_INDENT_2) + b"\n")


def _steps(json: Path | None) -> None:
    """Milliseconds of a step by optimizer and size of the table."""
    found = {name: {size: 1000 * _in_a_process(name, size) for size in TABLES} for name in STEPS}
    print("| rows of the table | " + " | ".join(f"{name}, ms of CPU a step" for name in found) + " |")
    print("| --- |" + " --- |" * len(found))
    for size in TABLES:
        print(f"| {size:,} | " + " | ".join(f"{by_size[size]:.1f}" for by_size in found.values()) + " |")
    if json:
        json.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS) + b"\n")


def _step_s(optimizer: Any, buckets: int) -> float:
    """Of CPU, which others on the machine do not lengthen; of a ranker with one hashed feature beside small vocabularies."""
    from models.fit import batches

    ranker, columns, spec = _ranker(STEP_ROWS, buckets, STEP_MODEL)
    ranker.compile(optimizer=optimizer(spec.learning_rate), weighted_metrics=[])
    shuffled = batches(columns, spec, shuffle=True)
    epoch_s = _epoch_s(lambda: ranker.fit(shuffled, epochs=1, verbose=0), STEP_EPOCHS, time.process_time)
    return epoch_s / (STEP_ROWS / spec.batch_size)


def adam(buckets: int) -> float:
    """Keras' Adam, as before."""
    from models.legacy_keras import keras

    return _step_s(keras.optimizers.Adam, buckets)


def lazy(buckets: int) -> float:
    """As training does it."""
    from models.optimizer import LazyAdam

    return _step_s(LazyAdam, buckets)


def pipeline(rows: int) -> float:
    """As training does it: batches gathered from shuffled rows."""
    from models.fit import batches

    ranker, columns, spec = _ranker(rows)
    shuffled = batches(columns, spec, shuffle=True)
    return _epoch_s(lambda: ranker.fit(shuffled, epochs=1, verbose=0))


def memory(rows: int) -> float:
    """The model alone: one batch that lies ready, as often as an epoch has batches."""
    from models.legacy_keras import tf

    ranker, columns, spec = _ranker(rows)
    batch = tf.nest.map_structure(lambda x: tf.constant(x[: spec.batch_size]), columns)
    steps = -(-rows // spec.batch_size)
    ready = tf.data.Dataset.from_tensors(batch).repeat(steps)
    return _epoch_s(lambda: ranker.fit(ready, epochs=1, verbose=0))


def torch(rows: int) -> float:
    """The same network, batch size and optimizer in PyTorch, on tensors in memory."""
    import torch as pt
    from torch import nn

    class DCN(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            width = FEATURES * MODEL["embedding_dim"] + NUMBERS
            units = (width, *MODEL["hidden_units"])
            self.table = nn.Embedding(FEATURES * VOCABULARY, MODEL["embedding_dim"])
            self.offsets = nn.Buffer(pt.arange(FEATURES) * VOCABULARY)
            self.cross = nn.ModuleList(nn.Linear(width, width) for _ in range(MODEL["cross_layers"]))
            layers = [nn.Sequential(nn.Linear(a, b), nn.ReLU(), nn.Dropout(MODEL["dropout"])) for a, b in pairwise(units)]
            self.deep = nn.Sequential(*layers, nn.Linear(units[-1], 1))

        def forward(self, ids: pt.Tensor, numbers: pt.Tensor) -> pt.Tensor:
            x0 = x = pt.cat([self.table(ids + self.offsets).flatten(1), numbers], dim=1)
            for layer in self.cross:
                x = x0 * layer(x) + x
            return self.deep(x)[:, 0]

    pt.manual_seed(SEED)
    ids, numbers, labels = (pt.from_numpy(x) for x in _random_rows(rows))
    model = DCN()
    optimizer = pt.optim.Adam(model.parameters(), MODEL["learning_rate"])
    loss = nn.BCEWithLogitsLoss()

    def epoch() -> None:
        for batch in pt.randperm(rows).split(MODEL["batch_size"]):
            optimizer.zero_grad()
            loss(model(ids[batch], numbers[batch]), labels[batch]).backward()
            optimizer.step()

    return _epoch_s(epoch)


MEASURES = {"pipeline": pipeline, "memory": memory, "torch": torch}
STEPS = {"Adam": adam, "lazy Adam": lazy}


def _random_rows(rows: int, buckets: int = VOCABULARY) -> tuple[Any, Any, Any]:
    """The first feature's ids are of so many buckets."""
    rng = np.random.default_rng(SEED)
    ids = rng.integers(0, VOCABULARY, (rows, FEATURES), dtype=np.int32)
    ids[:, 0] = rng.integers(0, buckets, rows)
    numbers = rng.standard_normal((rows, NUMBERS), dtype=np.float32)
    return ids, numbers, (rng.random(rows) < 0.1).astype(np.float32)


def _ranker(rows: int, buckets: int = VOCABULARY, model: dict[str, Any] = MODEL) -> tuple[Any, Any, Any]:
    """A compiled ranker, the columns of its training rows, and its settings."""
    from benchmarks.models.datasets import with_model
    from features.market import load_market
    from models.fit import Rows, columns_of, new_ranker
    from models.legacy_keras import keras
    from models.optimizer import LazyAdam
    from models.preprocessing import Encoding, Group

    market = with_model(load_market(REPOSITORY / "examples" / "coupons" / "market.toml"), model)
    ids, numbers, labels = _random_rows(rows, buckets)
    names = tuple((f"f{i}:id", VOCABULARY if i else buckets) for i in range(FEATURES))
    encoding = Encoding(Group(names[:-6], tuple(f"n{i}:z" for i in range(NUMBERS))), Group(names[-6:], ()))
    inputs = {
        "request_ids": ids[:, :-6],
        "request_numbers": numbers,
        "offer_ids": ids[:, -6:],
        "offer_numbers": np.zeros((rows, 0), np.float32),
    }
    keras.utils.set_random_seed(SEED)
    train = Rows(inputs, {"accepted": labels})
    ranker = new_ranker(market, encoding, train)
    ranker.compile(optimizer=LazyAdam(market.model.learning_rate), weighted_metrics=[])
    return ranker, columns_of(market.tasks, train), market.model


def _epoch_s(epoch: Any, epochs: int = EPOCHS, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of the quickest epoch but for the first."""
    took = []
    for _ in range(epochs):
        started_s = clock()
        epoch()
        took.append(clock() - started_s)
    return min(took[1:])


def _in_a_process(name: str, rows: int) -> float:
    print(f"measuring {name}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "benchmarks.models.speed", "--measure", name, "--rows", str(rows)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
