"""Logged decisions as they were: from the archive, or the end of the stream that is not archived yet."""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from domain.campaign import FeatureValue
from domain.errors import ContractError
from features.log_archive import DECISIONS, Part, parts
from features.log_entry import decision_json
from features.market import Market
from features.spec import FeatureSpec
from serving.gateway.moment import Moment
from serving.gateway.record import COLD_START

CLOCKS_DIFFER_MS = 3_600_000
"""An entry is logged this much before or after the time it bears, at most."""
AT_ONCE = 500
"""Entries of the stream."""

Said = dict[str, Any]
"""A decision as JSON holds it."""


@dataclass(frozen=True, slots=True)
class Logged:
    """A decision to be replayed."""

    said: Said
    moment: Moment

    @classmethod
    def of(cls, said: Said) -> "Logged":
        """Raises ContractError: it was made by a gateway of before, or is none."""
        if not said.get("moment"):
            raise ContractError(f"decision {said.get('decision_id')}: was logged before replays were: it has no `moment`")
        release = said["release"]
        return cls(said, Moment.read(said["moment"], None if release == COLD_START else int(release)))

    def features(self, market: Market) -> dict[str, FeatureValue]:
        """As used."""
        values = plain_features(market.request_features, self.said["features"])
        return {f.name: f.absent if (value := values.get(f.name)) is None else value for f in market.request_features}


def plain_features(features: tuple[FeatureSpec, ...], logged: Mapping[str, Any]) -> dict[str, FeatureValue]:
    """Those that have a value; what is archived of a float feature is a float32, of which this is the shortest number."""
    return {f.name: _plain(f, value) for f in features if (value := logged.get(f.name)) is not None}


def _plain(feature: FeatureSpec, value: Any) -> Any:
    if isinstance(value, list) and value and isinstance(value[0], dict):  # weighted, as Parquet has it
        value = {one["value"]: one["weight"] for one in value}
    if isinstance(value, dict):
        return {_short(feature, v): float(str(np.float32(weight))) for v, weight in value.items()}
    return [_short(feature, v) for v in value] if isinstance(value, list) else _short(feature, value)


def _short(feature: FeatureSpec, value: Any) -> Any:
    return float(str(np.float32(value))) if feature.dtype == "float" else value


def in_archive(log_dir: Path, decision_id: str) -> Said | None:
    """The newest of that id; None where there is none."""
    for part in reversed(parts(log_dir, DECISIONS)):
        try:
            with pq.ParquetFile(part.path) as file:
                for group in range(file.num_row_groups):
                    ids = file.read_row_group(group, ["decision_id"])["decision_id"]
                    if (at := pc.index(ids, pa.scalar(decision_id)).as_py()) >= 0:
                        return _said(file.read_row_group(group).slice(at, 1).to_pylist()[0])
        except (OSError, pa.ArrowException, KeyError):
            continue  # what is damaged holds nothing that could be found
    return None


def parts_between(log_dir: Path, since_ms: int, until_ms: float) -> list[Part]:
    """Parts that may hold decisions of a time."""
    begin, end = since_ms - CLOCKS_DIFFER_MS, until_ms + CLOCKS_DIFFER_MS
    return [p for p in parts(log_dir, DECISIONS, max(int(begin), 0)) if p.last_ms >= begin and p.first_ms <= end]


def read_decisions(path: Path, since_ms: int, until_ms: float, most: int | None = None) -> Iterator[Said]:
    """Those of a part that were made between two times, both included.

    Args:
      most: so many of each of its row groups, by a hash of their ids; None for all.
    Raises:
      ContractError: it cannot be read.
    """
    try:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                made = table["time_ms"]
                wanted = pc.and_(pc.greater_equal(made, since_ms), pc.less_equal(made, pa.scalar(until_ms, pa.float64())))
                yield from map(_said, _some(table.filter(wanted), most).to_pylist())
    except (OSError, pa.ArrowException, KeyError) as e:
        raise ContractError(f"{path}: expected decisions: {str(e).splitlines()[0]}") from None


def _some(table: pa.Table, most: int | None) -> pa.Table:
    if most is None or len(table) <= most:
        return table
    hashes = np.array([zlib.crc32(i.encode()) for i in table["decision_id"].to_pylist()])
    return table.take(pa.array(np.sort(np.argsort(hashes, kind="stable")[:most])))


def in_stream(redis: Any, stream: str, decision_id: str) -> Said | None:
    """The newest of that id in Redis' stream of decisions; None where there is none.

    Args:
      redis: a client, whose errors are passed on.
    """
    end, named = "+", orjson.dumps(decision_id)
    while entries := redis.xrevrange(stream, end, "-", count=AT_ONCE):
        for _, fields in entries:
            try:
                text = decision_json(fields)
            except ValueError:
                continue
            if named in text and (said := orjson.loads(text)).get("decision_id") == decision_id:
                found: Said = said
                return found
        last: bytes | str = entries[-1][0]
        end = f"({last.decode() if isinstance(last, bytes) else last}"
    return None


def _said(row: Said) -> Said:
    """A row of the archive, in the shape of the stream's JSON."""
    candidates = row["candidates"]
    unlisted = dict(candidates["unlisted"] or ()) if "unlisted" in candidates else {}
    moment = row.get("moment")
    return row | {
        "candidates": candidates | {"unlisted": unlisted},
        "stage_us": dict(row["stage_us"] or ()),
        "moment": orjson.loads(moment) if moment else {},
        "catalogue": row.get("catalogue") or 0,
        "invalid": row.get("invalid") or "",
    }
