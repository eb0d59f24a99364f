"""python -m benchmarks.models.serving: what members, and values of conversions, cost to serve, a page's 100 candidates at a time.

The network is that of examples/coupons, on random rows of as many features. Kinds take turns, one call each, in one process; of
each the median counts, and others on the machine add to all alike.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.models.datasets import with_model
from benchmarks.models.prepare import REPOSITORY
from features.market import Market, load_market
from models.fit import MEMBER_SEED, Rows, new_ranker, of_member
from models.legacy_keras import tf
from models.preprocessing import Encoding, Group
from models.ranker import Ensemble
from models.value import resume_value

ROWS = 100
VALUES = 6  # of a feature of the coupons, on average
ONE = "one network"
KINDS: dict[str, dict[str, object]] = {
    ONE: {"members": 1},
    "8 networks": {"members": 8, "ensemble": "separate"},
    **{f"{k} members of one network": {"members": k, "ensemble": "shared"} for k in (8, 16, 32)},
}
VALUES_BESIDE = "one network, and values"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models.serving", description=__doc__)
    parser.add_argument("--calls", type=int, default=200, help="of each kind (default 200)")
    parser.add_argument("--json", type=Path, help="write the milliseconds to this file")
    given = parser.parse_args()
    market = load_market(REPOSITORY / "examples" / "coupons" / "market.toml")
    ms = measured({name: with_model(market, changes) for name, changes in KINDS.items()}, given.calls)
    one = ms[ONE]
    print("| served | ms for 100 rows | times one network |\n| --- | --- | --- |")
    for name, took in ms.items():
        print(f"| {name} | {took:.2f} | {took / one:.2f} |")
    if given.json:
        given.json.write_bytes(orjson.dumps(ms, option=orjson.OPT_INDENT_2) + b"\n")


def measured(markets: dict[str, Market], calls: int) -> dict[str, float]:
    """Milliseconds of a call, its median, by kind."""
    encoding, rows = _made_up(next(iter(markets.values())))
    inputs = {name: tf.constant(x[:1] if name.startswith("request") else x) for name, x in rows.inputs.items()}
    served = {name: tf.function(_ensemble(market, encoding, rows).probabilities) for name, market in markets.items()}
    served[VALUES_BESIDE] = _with_values(markets[ONE], encoding, rows)
    took: dict[str, list[float]] = {name: [] for name in served}
    for call in served.values():
        call(inputs)  # traces
    for _ in range(calls):
        for name, call in served.items():
            started_s = time.perf_counter()
            call(inputs)
            took[name].append(1000 * (time.perf_counter() - started_s))
    return {name: float(np.median(times)) for name, times in took.items()}


def _ensemble(market: Market, encoding: Encoding, rows: Rows) -> Ensemble:
    return Ensemble([new_ranker(of_member(market, n), encoding, rows, n) for n in range(market.model.networks)])


def _with_values(market: Market, encoding: Encoding, rows: Rows) -> Any:
    """The network of values reads what the ranker does, and has embeddings and layers of its own."""
    ranker, value = _ensemble(market, encoding, rows), resume_value(market, encoding, rows.inputs, None)
    return tf.function(lambda inputs: (ranker.probabilities(inputs), value.micros(inputs)))


def _made_up(market: Market) -> tuple[Encoding, Rows]:
    """Rows of random values of all features, and how they are read."""
    request, offer = (tuple((f"{f.name}:id", VALUES) for f in of) for of in (market.request_features, market.offer_features))
    rng = np.random.default_rng(MEMBER_SEED)
    inputs: dict[str, Any] = {}
    for side, columns in (("request", request), ("offer", offer)):
        inputs[f"{side}_ids"] = rng.integers(0, VALUES, (ROWS, len(columns)), dtype=np.int32)
        inputs[f"{side}_numbers"] = np.zeros((ROWS, 0), np.float32)
    labels = {t.label: (rng.random(ROWS) < 0.5).astype(np.float32) for t in market.tasks}
    return Encoding(Group(request, ()), Group(offer, ())), Rows(inputs, labels)


if __name__ == "__main__":
    main()
