"""The market of the studies, and its columns as the network's inputs without a TFX run."""

import tomllib
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.bench_release import REPOSITORY
from features.market import Market, parse_market
from features.model_spec import BiasSpec, ModelSpec, TaskSpec
from features.spec import FeatureSpec
from models.fit import Rows
from models.preprocessing import MAX_Z, Encoding, Group
from simulation.advertisers import enlarge
from simulation.offline import Logged

SLOTS = 6
OFFERS = 300
CTR = TaskSpec(name="ctr", label="click")
CVR = TaskSpec(name="cvr", label="conversion", given="click")
CVR_OF_CLICKS = TaskSpec(name="cvr", label="conversion")
"""For rows that are all clicked."""
BIAS = BiasSpec(features=("device",))
HOURLY_BATCH = 256  # an hour is few rows, and each batch one step


def study_market(
    seed: int, tasks: tuple[TaskSpec, ...], *, plus: tuple[FeatureSpec, ...] = (), minus: tuple[str, ...] = (), **model: Any
) -> Market:
    """The confirmation market with six slots and 300 offers, ten to a campaign, and the default model but for `model`.

    Shoppers of offline logs come once each, so features of history are left out.

    Args:
      plus, minus: features, and names of features.
    """
    raw = tomllib.loads((REPOSITORY / "examples" / "confirmation" / "market.toml").read_text(encoding="utf-8"))
    raw["placements"] = [{"name": "main", "count": SLOTS}]
    raw["features"] = [f for f in raw["features"] if f["source"] != "history"]
    market = parse_market(enlarge(raw, "study", OFFERS, OFFERS // 10, seed=1))
    features = (*(f for f in market.features if f.name not in minus), *plus)
    return market.model_copy(update={"features": features, "tasks": tasks, "model": ModelSpec(seed=seed, **model)})


class Columns:
    """Encodes as `models.preprocessing` does, with what it learns (means, quantiles) taken from one log."""

    def __init__(self, market: Market, learned_from: Logged) -> None:
        self._market = market
        self._numbers = {
            f.name: learned_from.features[f.name].astype(np.float64) for f in market.features if f.quantiles or f.normalize
        }
        self.encoding = Encoding(_group(market.request_features), _group(market.offer_features))

    def rows(self, log: Logged) -> Rows:
        """Inputs, positions, and the labels as they will be once every conversion has come."""
        labels = {"click": log.click.astype(np.float32), "conversion": log.conversion.astype(np.float32)}
        return Rows(self.inputs(log.features), labels, log.position)

    def inputs(self, features: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The packed tensors of `models.ranker.Inputs`."""
        packed: dict[str, NDArray[Any]] = {}
        for name, group in (("request", self._market.request_features), ("offer", self._market.offer_features)):
            ids = [column for f in group for column in self._ids(f, features[f.name])]
            numbers = [self._z(f, features[f.name]) for f in group if f.normalize]
            rows = len(next(iter(features.values())))
            packed[f"{name}_ids"] = np.stack(ids, axis=1) if ids else np.zeros((rows, 0), np.int32)
            packed[f"{name}_numbers"] = np.stack(numbers, axis=1) if numbers else np.zeros((rows, 0), np.float32)
        return packed

    def _ids(self, f: FeatureSpec, column: NDArray[Any]) -> list[NDArray[np.int32]]:
        found = []
        if f.hash_buckets or f.vocabulary:
            values, number = np.unique(column.astype(str), return_inverse=True)
            found.append(np.array([_id(f, v) for v in values.tolist()], np.int32)[number])
        if f.quantiles:
            cuts = np.quantile(self._numbers[f.name], np.arange(1, f.quantiles) / f.quantiles)
            found.append(np.searchsorted(cuts, column.astype(np.float64), side="right").astype(np.int32))
        return found

    def _z(self, f: FeatureSpec, column: NDArray[Any]) -> NDArray[np.float32]:
        seen = self._numbers[f.name]
        z = (np.clip(column.astype(np.float64), seen.min(), seen.max()) - seen.mean()) / max(float(seen.std()), 1e-9)
        return np.clip(z, -MAX_Z, MAX_Z).astype(np.float32)


def _id(f: FeatureSpec, value: str) -> int:
    if f.hash_buckets:
        return zlib.crc32(value.encode()) % f.hash_buckets
    assert isinstance(f.vocabulary, tuple), f"{f.name}: the studies learn no vocabularies"
    known = [str(v) for v in f.vocabulary]
    return known.index(value) if value in known else len(known)


def _group(features: tuple[FeatureSpec, ...]) -> Group:
    ids: list[tuple[str, int]] = []
    for f in features:
        if f.hash_buckets or isinstance(f.vocabulary, tuple):
            ids.append((f"{f.name}:id", f.hash_buckets or len(f.vocabulary) + 1))
        if f.quantiles:
            ids.append((f"{f.name}:bucket", f.quantiles))
    return Group(tuple(ids), tuple(f"{f.name}:z" for f in features if f.normalize))
