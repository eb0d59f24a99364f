"""What is otherwise in a decision that was made once more: bit for bit, after both went through the log's own rounding."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import orjson

from domain.errors import ContractError
from domain.events import CandidateLog, Decision
from features.market import Market
from serving.gateway.record import as_logged
from serving.replay.again import Then, decide_again
from serving.replay.logged import Logged, Said, plain_features

COMPARED = ("day", "policy_id", "release", "explored", "catalogue", "features", "slots", "candidates")
MOST = 20
"""Differences that are told of one decision."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One value."""

    decision_id: str
    field: str
    """Such as `slots[0].price_micros`."""
    logged: Any
    recomputed: Any


def differences(logged: Logged, world: Then) -> list[Difference]:
    """What is otherwise, the first `MOST`; none where all is the same.

    Raises:
      OfferRankError: it cannot be made once more, since something is not there.
    """
    decision_id = str(logged.said["decision_id"])
    view = world.view(logged)
    try:
        made = asyncio.run(decide_again(logged, world))
        weight = logged.said["candidates"].get("weight")
        again = _plain(as_logged(made.decided, made.view, 1.0 if weight is None else weight), view.market)
    except ContractError as e:
        return [Difference(decision_id, "moment", None, str(e))]
    found = _apart("", _comparable(logged.said, view.market), again)
    return [Difference(decision_id, *one) for one, _ in zip(found, range(MOST), strict=False)]


def _plain(decision: Decision, market: Market) -> Said:
    values = {f.name: getattr(decision, f.name) for f in fields(decision)}
    said: Said = orjson.loads(orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY))
    return _comparable(said, market)


def _comparable(said: Said, market: Market) -> Said:
    """What is compared, as the archive would have it: numbers that it rounds are rounded."""
    tasks = [t.name for t in market.served_tasks]
    slots = [
        {name: slot[name] for name in slot if name not in ("features", "probability")}
        | {"features": plain_features(market.offer_features, slot["features"])}
        | {"probability": {t: slot["probability"].get(t) for t in tasks}, "examination": slot.get("examination", 1.0)}
        for slot in said["slots"]
    ]
    listed = {f.name: said["candidates"].get(f.name) for f in fields(CandidateLog)}
    listed["ecpm_micros"] = _float32(listed["ecpm_micros"])
    listed["probability"] = {t: _float32(listed["probability"].get(t) or ()) for t in tasks}
    return {name: said.get(name) for name in COMPARED} | {
        "features": plain_features(market.request_features, said["features"]),
        "slots": slots,
        "candidates": listed,
    }


def _float32(values: Any) -> list[float | None]:
    return [None if v is None else float(np.float32(v)) for v in values]


def _apart(where: str, one: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(one, dict) and isinstance(other, dict):
        for name in dict.fromkeys((*one, *other)):
            yield from _apart(f"{where}.{name}" if where else str(name), one.get(name), other.get(name))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            yield from _apart(f"{where}[{i}]", a, b)
    elif one != other:
        yield where, one, other
