"""Stream entries become rows of the archive, or are rejected one by one with a reason."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial

import orjson
import pyarrow as pa

from domain.events import CandidateLog, Decision, EventStatus, EventType, Slot
from features.log_archive import DECISIONS, EVENTS, StreamId
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
            return pa.concat_tables(good), sorted(rejected, key=lambda r: r.entry.id)


def log_formats(market: Market) -> tuple[LogFormat, LogFormat]:
    """Events, then decisions: read in this order, the decision of an archived event is archived with it or before it."""
    return (
        LogFormat(EVENTS, event_schema(), event_row),
        LogFormat(DECISIONS, decision_schema(market), partial(decision_row, market)),
    )


def decision_row(market: Market, entry: Entry) -> Row:
    """Field `d` of a decision entry, a JSON `domain.events.Decision`.

    Raises:
      ValueError, TypeError, KeyError, AttributeError: it is none; types of plain columns are left to Arrow.
    """
    _expect_keys("entry", {b"d"}, entry.fields)
    row: Row = orjson.loads(entry.fields[b"d"])
    _expect_keys("decision", _DECISION, row)
    row["features"] = _coerced("features", market.request_features, row["features"])
    slots = row["slots"]
    if not isinstance(slots, list):
        raise ValueError(f"slots: expected a list, got {slots!r}")
    for slot in slots:
        _expect_keys("slot", _SLOT, slot)
        slot["features"] = _coerced("slots.features", market.offer_features, slot["features"])
        _expect_keys("slots.probability", {t.name for t in market.served_tasks}, slot["probability"])
    candidates = row["candidates"]
    _expect_keys("candidates", _CANDIDATES, candidates)
    probability = candidates["probability"]  # type: ignore[index]
    _expect_keys("candidates.probability", {t.name for t in market.served_tasks}, probability)
    columns = [v for k, v in candidates.items() if k != "probability"] + list(probability.values())  # type: ignore[attr-defined]
    if len({len(column) for column in columns}) != 1:
        raise ValueError(f"candidates: expected lists of one length, got {[len(column) for column in columns]}")
    row["stage_us"] = list(row["stage_us"].items())  # type: ignore[attr-defined]
    row["stream_id"] = str(entry.id)
    return row


def event_row(entry: Entry) -> Row:
    """The flat fields of an event entry; an empty `position`, `day` or `value_micros` is null.

    Raises:
      ValueError, KeyError: a field is missing, unknown or not what it should be.
    """
    _expect_keys("entry", _EVENT, entry.fields)
    row: Row = {name.decode(): value.decode() for name, value in entry.fields.items()}
    row["type"], row["status"] = EventType(str(row["type"])).value, EventStatus(str(row["status"])).value
    for name in ("charged_micros", "time_ms"):
        row[name] = _integer(name, row[name])
    for name in ("position", "day", "value_micros"):
        row[name] = _integer(name, row[name]) if row[name] else None
    if row["charged_micros"] and row["day"] is None:
        raise ValueError("day: expected the budget day of a charge, got nothing")
    row["stream_id"] = str(entry.id)
    return row


_DECISION = {f.name for f in fields(Decision)}
_SLOT = {f.name for f in fields(Slot)}
_CANDIDATES = {f.name for f in fields(CandidateLog)}
_EVENT = {f.name.encode() for f in event_schema()} - {b"stream_id"}
_BAD_VALUE = (pa.ArrowException, ValueError, TypeError, OverflowError)


def _integer(name: str, text: object) -> int:
    try:
        return int(str(text))
    except ValueError:
        raise ValueError(f"{name}: expected a whole number, got {text!r}") from None


def _expect_keys(what: str, expected: set[str] | set[bytes], got: object) -> None:
    if not isinstance(got, Mapping):
        raise ValueError(f"{what}: expected a table, got {got!r}")
    names: set[object] = set(got)
    if names != expected:
        missing, unknown = sorted(map(str, expected - names)), sorted(map(str, names - expected))
        raise ValueError(f"{what}: missing {missing}, unknown {unknown}")


def _coerced(what: str, features: tuple[FeatureSpec, ...], values: object) -> Row:
    """Known features by name; one that the log lacks is null, one that the market lacks is an error."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{what}: expected a table, got {values!r}")
    unknown = values.keys() - {f.name for f in features}
    if unknown:
        raise ValueError(f"{what}: unknown {sorted(unknown)}")
    row: Row = {}
    for feature in features:
        if feature.name in values:
            try:
                value = values[feature.name]
                known = None if value is None and feature.missing == "own" else feature.coerce(value)
                row[feature.name] = [{"value": v, "weight": w} for v, w in known.items()] if isinstance(known, dict) else known
            except ValueError as e:
                raise ValueError(f"{what}.{feature.name}: {e}") from None
    return row


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
