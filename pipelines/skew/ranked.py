"""What was ranked, a row per decision and offer, twice over: as training reads it from the log, and as serving assembles it."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from domain.campaign import FeatureValue
from features.assemble import OfferColumns, Tensor, request_tensors
from features.log_schema import contiguous, feature_struct
from features.market import Market
from features.spec import FeatureSpec
from pipelines.joining import feature_columns
from pipelines.recalibration import raw_tensors

CANDIDATES = 50
"""Of one decision, at most: one that explored lists all."""
Columns = dict[str, NDArray[Any]]
"""The model's inputs by name, [R] or [R, width]; text as str."""
Key = tuple[int, str]
"""Number of a decision, and an offer."""


class Claim(NamedTuple):
    """A probability that serving logged, of one row."""

    row: int
    task: str
    where: Literal["slot", "candidate"]
    """`slot` with all digits, `candidate` as float32."""
    logged: float


@dataclass(frozen=True, slots=True)
class Ranked:
    """R rows of M decisions."""

    decision_ids: list[str]
    time_ms: NDArray[np.int64]
    """[M] of the decisions."""
    decision: NDArray[np.int64]
    """[R] which of the M decisions."""
    offer_ids: list[str]
    """[R]"""
    shown: NDArray[np.bool_]
    """[R] whether its offer's features were logged with it."""
    in_catalogue: NDArray[np.bool_]
    """[R] whether the market still has the offer."""
    training: Columns
    serving: Columns
    """The catalogue's offer features; of an offer that is gone, those logged."""
    claims: list[Claim]
    left_out: int
    """Probabilities of offers that the market does not have, or not in that campaign any more, by which calibration may tell them
    apart; and of candidates that were not shown where nothing tells what their features were."""


def ranked(market: Market, decisions: pa.Table) -> Ranked:
    """Slots, and candidates that were ranked.

    The features of a candidate that was not shown are not logged. They are the catalogue's if its offer was shown with these, in
    the decisions at hand and no later: else the offer may have been edited since. A slot without claims is one of an offer that
    has left its campaign.

    Raises:
      InvalidTrainingData: a value that training refuses; names the feature.
    """
    position = {o.id: i for i, o in enumerate(market.offers)}
    catalogue = pa.array(
        [{f.name: _as_logged(market.offer_value(o, f)) for f in market.offer_features} for o in market.offers],
        feature_struct(market.offer_features),
    )
    slots = pa.table({"": pc.list_flatten(decisions["slots"])}).flatten()
    slots = slots.rename_columns([name.removeprefix(".") for name in slots.column_names])
    of_slot = pc.list_parent_indices(contiguous(decisions["slots"])).to_pylist()
    keys: list[Key] = list(zip(of_slot, slots["offer_id"].to_pylist(), strict=True))
    campaign = {o.id: o.campaign for o in market.offers}
    moved = {key for key, was in zip(keys, slots["campaign_id"].to_pylist(), strict=True) if campaign.get(key[1]) != was}
    known_ms = _shown_as_it_is(keys, slots["features"].to_pylist(), decisions["time_ms"].to_pylist(), position, catalogue, moved)
    source = {key: k for k, key in reversed(list(enumerate(keys)))}
    """Row among the slots, then in the catalogue."""
    claims: list[tuple[Key, str, Literal["slot", "candidate"], float | None]] = [
        (key, task, "slot", p)
        for key, of_tasks in zip(keys, slots["probability"].to_pylist(), strict=True)
        for task, p in of_tasks.items()
    ]
    left_out = 0
    for i, (time_ms, candidates) in enumerate(
        zip(decisions["time_ms"].to_pylist(), decisions["candidates"].to_pylist(), strict=True)
    ):
        for task, logged in candidates["probability"].items():
            worth = [pair for pair in zip(candidates["offer_id"], logged or (), strict=False) if pair[1] is not None]
            for offer_id, p in worth[:CANDIDATES]:
                if (i, offer_id) not in source:
                    if time_ms < known_ms.get(offer_id, math.inf):
                        left_out += 1
                        continue
                    source[i, offer_id] = len(keys) + position[offer_id]
                claims.append(((i, offer_id), task, "candidate", p))
    left_out += sum(key in moved for key, *_ in claims)
    claims = [claim for claim in claims if claim[0] not in moved]
    row = {key: r for r, key in enumerate(sorted(source))}
    decision = np.array([i for i, _ in row], np.int64)
    offers = np.array([position.get(offer_id, -1) for _, offer_id in row], np.int64)
    taken = np.array([source[key] for key in row], np.int64)
    offer_features = pa.concat_arrays([contiguous(slots["features"]), catalogue])
    training = _training(market, decisions, offer_features, decision, taken)
    return Ranked(
        decision_ids=decisions["decision_id"].to_pylist(),
        time_ms=decisions["time_ms"].to_numpy(),
        decision=decision,
        offer_ids=[offer_id for _, offer_id in row],
        shown=taken < len(keys),
        in_catalogue=offers >= 0,
        training=training,
        serving=_serving(market, decisions, decision, offers, training),
        claims=[Claim(row[key], task, where, p) for key, task, where, p in claims if p is not None],
        left_out=left_out,
    )


def _shown_as_it_is(
    keys: list[Key],
    features: list[Any],
    time_ms: list[int],
    position: Mapping[str, int],
    catalogue: pa.Array,
    moved: Collection[Key],
) -> dict[str, int]:
    """Offer -> when it was first shown with the features, and in the campaign, that it has now."""
    now, first = catalogue.to_pylist(), dict[str, int]()
    for (i, offer_id), used in zip(keys, features, strict=True):
        if (i, offer_id) not in moved and used == now[position[offer_id]]:
            first[offer_id] = min(time_ms[i], first.get(offer_id, time_ms[i]))
    return first


def _training(
    market: Market, decisions: pa.Table, offers: pa.Array, decision: NDArray[np.int64], taken: NDArray[np.int64]
) -> Columns:
    """As rows of training: pipelines/examples.py and pipelines/bags.py."""
    request = pa.table({"f": contiguous(decisions["features"]).take(pa.array(decision))}).flatten()
    offer = pa.table({"f": offers.take(pa.array(taken))}).flatten()
    logged = {f.name: (offer if f.source == "offer" else request)[f"f.{f.name}"] for f in market.features}
    return dict(raw_tensors(market, pa.table(feature_columns(market, logged))))


def _serving(
    market: Market, decisions: pa.Table, decision: NDArray[np.int64], offers: NDArray[np.int64], training: Columns
) -> Columns:
    """As the gateway assembles them: features/assemble.py."""
    by_name = {f.name: f for f in market.request_features}
    assembled: list[dict[str, Tensor]] = []
    for values in decisions["features"].to_pylist():
        used = {name: _as_used(by_name[name], value) for name, value in values.items() if name in by_name}
        assembled.append(request_tensors(market, used))
    tensors: Columns = {
        t.name: _text(np.concatenate([one[t.name] for one in assembled]))[decision]
        for f in market.request_features
        for t in f.tensors
    }
    known = offers >= 0
    for name, column in OfferColumns.of(market).columns.items():
        tensors[name] = training[name].copy()
        tensors[name][known] = _text(column)[offers[known]]
    return tensors


def _as_logged(value: FeatureValue) -> object:
    return [{"value": v, "weight": w} for v, w in value.items()] if isinstance(value, dict) else value


def _as_used(feature: FeatureSpec, value: Any) -> FeatureValue:
    """What the gateway had, of what Arrow gives back."""
    if feature.weighted:
        return {pair["value"]: pair["weight"] for pair in value or ()}
    used: FeatureValue = value
    return used


def _text(tensor: Any) -> NDArray[Any]:
    """Bytes as str."""
    return np.vectorize(bytes.decode, otypes=[object])(tensor) if tensor.dtype == object and tensor.size else tensor


def shown_value(tensors: Columns, feature: FeatureSpec, row: int) -> str | float | None:
    """A feature's value in one row, to be read by people; None where it is missing."""
    (name, *weights) = (t.name for t in feature.tensors)
    value = tensors[name][row]
    if feature.multiple:
        held = [v for v in value.tolist() if v != feature.fill]
        return str(dict(zip(held, tensors[weights[0]][row].tolist(), strict=False)) if weights else held)
    if feature.default is None and (value == feature.fill or value != value):
        return None
    return str(value) if feature.dtype == "string" else float(value) if feature.dtype == "float" else int(value)


def sizes(features: Sequence[FeatureSpec], one: Columns, other: Columns) -> dict[str, NDArray[np.float64]]:
    """Feature -> [R] how far apart its two values are: of numbers their distance, of text, and of something and nothing, 1."""
    return {
        f.name: np.max([_apart(one[t.name], other[t.name]).reshape(len(one[t.name]), -1).max(axis=1) for t in f.tensors], axis=0)
        for f in features
    }


def _apart(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    if a.dtype == object:
        return (a != b).astype(np.float64)
    x, y = a.astype(np.float64), b.astype(np.float64)
    apart = np.abs(x - y)
    return np.where(np.isnan(x) & np.isnan(y), 0.0, np.where(np.isnan(apart), 1.0, apart))
