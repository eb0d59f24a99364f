"""Stream entries become rows of the archive, or are rejected one by one with a reason."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from functools import partial
from typing import Any

import orjson
import pyarrow as pa

from domain.campaign import FeatureValue
from domain.events import CandidateLog, Decision, EventStatus, EventType, Slot
from features.log_archive import DECISIONS, EVENTS, StreamId
from features.log_entry import decision_json
from features.log_schema import decision_schema, event_schema
from features.market import Market
from features.spec import FeatureSpec

Fields = Mapping[bytes, bytes]
Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class Entry:
    """One stream entry as Redis returns it."""

    id: StreamId
    fields: Fields
    stream: int = 0
    """Which of its log's streams it is from: of events, the partition."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """An entry that is not what the log's schema says, and why."""

    entry: Entry
    reason: str


@dataclass(frozen=True, slots=True)
class LogFormat:
    """How the entries of one log become a table."""

    name: str
    schema: pa.Schema
    to_row: Callable[[Entry], Row]

    def table(self, entries: Sequence[Entry]) -> tuple[pa.Table, list[Rejected]]:
        """One row per good entry, in order; never raises for what an entry holds."""
        rows: list[Row] = []
        kept: list[Entry] = []
        rejected: list[Rejected] = []
        for entry in entries:
            try:
                rows.append(self.to_row(entry))
                kept.append(entry)
            except (ValueError, TypeError, KeyError, AttributeError) as e:
                rejected.append(Rejected(entry, _reason(e)))
        try:
            return _table(rows, self.schema), rejected
        except _BAD_VALUE:
            # Some value is of the wrong type: find the rows one by one, which is slow and rare.
            good: list[pa.Table] = [self.schema.empty_table()]
            for entry, row in zip(kept, rows, strict=True):
                try:
                    good.append(_table([row], self.schema))
                except _BAD_VALUE as e:
                    rejected.append(Rejected(entry, _reason(e)))
            return pa.concat_tables(good), sorted(rejected, key=lambda r: (r.entry.stream, r.entry.id))


def log_formats(market: Market) -> tuple[LogFormat, LogFormat]:
    """Events, then decisions: read in this order, the decision of an archived event is archived with it or before it."""
    return (
        LogFormat(EVENTS, event_schema(), event_row),
        LogFormat(DECISIONS, decision_schema(market), partial(decision_row, market)),
    )


def decision_row(market: Market, entry: Entry) -> Row:
    """A decision entry under the market of today, whichever it was logged under.

    A feature or task that it lacks is null. What today's market does not have, or has of another type, is in `beyond`.

    Raises:
      ValueError, TypeError, KeyError, AttributeError: it is no decision; types of plain columns are left to Arrow.
    """
    tasks: dict[str, object] = {t.name: None for t in market.served_tasks}
    row, beyond = _known("decision", _DECISION, orjson.loads(decision_json(entry.fields)))
    row["features"], beyond["features"] = _features("features", market.request_features, row["features"])
    if not isinstance(row["slots"], list):
        raise ValueError(f"slots: expected a list, got {row['slots']!r}")
    slots = [_known("slot", _SLOT, slot) for slot in row["slots"]]
    for slot, other in slots:
        slot["features"], other["features"] = _features("slots.features", market.offer_features, slot["features"])
        slot["probability"], other["probability"] = _known("slots.probability", tasks, slot["probability"])
    row["slots"], beyond["slots"] = [slot for slot, _ in slots], [other for _, other in slots]
    candidates, other = _known("candidates", _CANDIDATES, row["candidates"])
    candidates["probability"], other["probability"] = _known("candidates.probability", tasks, candidates["probability"])
    _expect_one_length(candidates)
    candidates["unlisted"] = _items("candidates.unlisted", candidates["unlisted"])
    row["candidates"], beyond["candidates"] = candidates, other
    row["stage_us"] = _items("stage_us", row["stage_us"])
    row["moment"] = orjson.dumps(row["moment"]).decode() if row["moment"] else None
    return row | {"stream_id": str(entry.id), "beyond": _as_json(beyond)}


def event_row(entry: Entry) -> Row:
    """The flat fields of an event entry; an optional one that is empty is null, and unknown ones are in `beyond`.

    Raises:
      ValueError: a field is missing, or not what it should be.
    """
    row, beyond = _known("entry", _EVENT, {name.decode(): value.decode() for name, value in entry.fields.items()})
    row = {name: None if value == "" and name in _EVENT_OPTIONAL else value for name, value in row.items()}
    row |= {name: _integer(name, row[name]) for name in _EVENT_INTEGERS if row[name] is not None}
    row["type"], row["status"] = EventType(str(row["type"])).value, EventStatus(str(row["status"])).value
    if row["charged_micros"] and row["day"] is None:
        raise ValueError("day: expected the budget day of a charge, got nothing")
    return row | {"stream_id": str(entry.id), "partition": entry.stream, "beyond": _as_json(beyond)}


_REQUIRED = object()
_OURS = ("stream_id", "partition", "beyond")


def _defaults(record: type) -> dict[str, object]:
    """Field -> what stands in for it; `_REQUIRED` where nothing can."""

    def default(f: Field[Any]) -> object:
        return f.default_factory() if f.default_factory is not MISSING else _REQUIRED if f.default is MISSING else f.default

    return {f.name: default(f) for f in fields(record)}


_SLOT, _CANDIDATES = _defaults(Slot), _defaults(CandidateLog)
_DECISION = _defaults(Decision) | {"asked_by": ""}  # which gateways of before do not say
_EVENT = {f.name: None if f.nullable else _REQUIRED for f in event_schema() if f.name not in _OURS}
_EVENT_INTEGERS = [f.name for f in event_schema() if f.name in _EVENT and pa.types.is_integer(f.type)]
_EVENT_OPTIONAL = {f.name for f in event_schema() if f.nullable}
_BAD_VALUE = (pa.ArrowException, ValueError, TypeError, OverflowError)


def _known(what: str, expected: Mapping[str, object], got: object) -> tuple[Row, Row]:
    """What is expected, where absent by its default, and what is there beside it."""
    if not isinstance(got, Mapping):
        raise ValueError(f"{what}: expected a table, got {got!r}")
    known = {name: got.get(name, default) for name, default in expected.items()}
    missing = sorted(name for name, value in known.items() if value is _REQUIRED)
    if missing:
        raise ValueError(f"{what}: missing {missing}")
    return known, {name: value for name, value in got.items() if name not in expected}


def _features(what: str, features: tuple[FeatureSpec, ...], values: object) -> tuple[Row, Row]:
    """The market's features, null where the log has no value of their type; and the other values."""
    known, others = _known(what, {f.name: None for f in features}, values)
    for feature in features:
        if (value := known.get(feature.name)) is None:
            continue
        try:
            known[feature.name] = _as_arrow(feature.coerce(value))
        except ValueError:
            others[feature.name], known[feature.name] = value, None
    return known, others


def _as_arrow(value: FeatureValue) -> object:
    return [{"value": v, "weight": w} for v, w in value.items()] if isinstance(value, dict) else value


def _expect_one_length(candidates: Row) -> None:
    lists = {name: candidates[name] for name in ("offer_id", "source", "ecpm_micros", "reason")}
    lists |= {f"probability.{task}": p for task, p in candidates["probability"].items() if p is not None}  # type: ignore[attr-defined]
    lengths = {name: len(column) for name, column in lists.items()}  # type: ignore[arg-type]
    if len(set(lengths.values())) > 1:
        raise ValueError(f"candidates: expected lists of one length, got {lengths}")


def _items(what: str, table: object) -> list[tuple[str, object]]:
    if not isinstance(table, Mapping):
        raise ValueError(f"{what}: expected a table, got {table!r}")
    return list(table.items())


def _integer(name: str, text: object) -> int:
    try:
        return int(str(text))
    except ValueError:
        raise ValueError(f"{name}: expected a whole number, got {text!r}") from None


def _as_json(beyond: Row) -> str | None:
    """What is not empty of it; null where nothing is."""
    told = {name: value for name, value in beyond.items() if _says_something(value)}
    return orjson.dumps(told).decode() if told else None


def _says_something(value: object) -> bool:
    """Whether it is more than empty tables; a value of none is something."""
    if isinstance(value, Mapping):
        return any(_says_something(v) for v in value.values())
    return any(map(_says_something, value)) if isinstance(value, list) else True


def _table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    columns = []
    for field in schema:
        try:
            column = pa.array([row[field.name] for row in rows], field.type)
        except _BAD_VALUE as e:
            raise ValueError(f"{field.name}: {e}") from None
        _refuse_nulls(column, field)
        columns.append(column)
    return pa.table(columns, schema=schema)


def _refuse_nulls(column: pa.Array, field: pa.Field, path: str = "") -> None:
    """Arrow itself does not hold a column to `nullable=False`."""
    path = f"{path}.{field.name}" if path else field.name
    if not field.nullable and column.null_count:
        raise ValueError(f"{path}: expected a value, got null")
    if pa.types.is_struct(field.type):
        for i, child in enumerate(column.flatten()):
            _refuse_nulls(child, field.type[i], path)
    elif pa.types.is_list(field.type):
        _refuse_nulls(column.flatten(), field.type.value_field, path)
    elif pa.types.is_map(field.type):
        _refuse_nulls(column.items, pa.field("value", field.type.item_type, nullable=False), path)


def _reason(error: Exception) -> str:
    text = f"missing {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
    return text.splitlines()[0][:500]
