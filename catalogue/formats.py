"""Advertisers, campaigns and offers in files: TOML as in market.toml, JSON lines, and CSV, one file a kind."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import tomli
from pydantic.fields import FieldInfo

from catalogue.checks import parse
from catalogue.kinds import RECORDS, TABLES, Entry, kind_of
from domain.errors import InvalidChange
from features.market import Market
from features.spec import FeatureSpec

KINDS = {kind: table for table, kind in TABLES.items()}
NESTED = {"campaigns": "targeting", "offers": "features"}
"""Tables of a table, which in CSV are columns such as `targeting.country`."""
SEPARATOR = "|"
"""Between values in a cell."""


def read(path: Path, market: Market) -> list[Entry]:
    """What a file lists, in its order. Other tables of a TOML file, such as those of a market.toml, are passed over.

    Raises:
      InvalidChange: it cannot be read, or something in it is wrong: says the line or entry, the field and the value.
    """
    readers = {".toml": _toml, ".jsonl": _json_lines, ".csv": _csv}
    if path.suffix.lower() not in readers:
        raise InvalidChange(str(path), "expected a file that ends in .toml, .jsonl or .csv")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as e:
        raise InvalidChange(str(path), f"cannot be read: {e.strerror}") from None
    except UnicodeDecodeError as e:
        raise InvalidChange(str(path), f"is not UTF-8 text: {e.reason} at byte {e.start}") from None
    found, seen = list[Entry](), set[tuple[type, str]]()
    for at, table, given in readers[path.suffix.lower()](text, path.name, market):
        if not isinstance(given, Mapping):
            raise InvalidChange(at, "a table", given)
        entry = parse(RECORDS[TABLES[table]], given, at)
        if (type(entry), entry.id) in seen:
            raise InvalidChange(f"{at}.id", f"{entry.id!r} is defined twice")
        seen.add((type(entry), entry.id))
        found.append(entry)
    return found


Raw = Iterator[tuple[str, str, Any]]
"""Where it is, which table it belongs to, and what it says."""


def _toml(text: str, name: str, _: Market) -> Raw:
    try:
        content = tomli.loads(text)
    except tomli.TOMLDecodeError as e:
        raise InvalidChange(name, f"is not valid TOML: {e}") from None
    for table in TABLES:
        rows = content.get(table, [])
        if not isinstance(rows, list):
            raise InvalidChange(f"{name}: {table}", "a list of tables", rows)
        for i, given in enumerate(rows):
            label = f' "{given["id"]}"' if isinstance(given, Mapping) and "id" in given else ""
            yield f"{name}: {table}[{i}{label}]", table, given


def _json_lines(text: str, name: str, _: Market) -> Raw:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        at = f"{name}: line {number}"
        try:
            given = json.loads(line)
        except (ValueError, RecursionError) as e:
            raise InvalidChange(at, f"is not JSON: {e}") from None
        kind = given.pop("kind", None) if isinstance(given, dict) else None
        if kind not in KINDS:
            raise InvalidChange(f"{at}.kind", "advertiser, campaign or offer", kind)
        yield at, KINDS[kind], given


def _csv(text: str, name: str, market: Market) -> Raw:
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="")
    columns = reader.fieldnames or []
    table = "offers" if "campaign" in columns else "campaigns" if {"advertiser", "bid_kind"} & {*columns} else "advertisers"
    specs = {f.name: f for f in market.features}
    for row in reader:
        at = f"{name}: line {reader.line_num}"
        if row.get(""):
            raise InvalidChange(at, f"expected {len(columns)} columns, got more")
        given: dict[str, Any] = {}
        for column, cell in row.items():
            if cell is None or cell == "" or not column:
                continue
            outer, _, inner = column.partition(".")
            if inner and outer == NESTED.get(table):
                given.setdefault(outer, {})[inner] = _cell(cell, specs.get(inner), f"{at}.{column}", several=table == "campaigns")
            elif column == NESTED.get(table):
                found = _json(cell, f"{at}.{column}")
                if not isinstance(found, dict):
                    raise InvalidChange(f"{at}.{column}", "an object as JSON", cell)
                given[column] = {**given.get(column, {}), **found}
            else:
                given[column] = _structured(cell, RECORDS[TABLES[table]].model_fields.get(column), f"{at}.{column}")
        yield at, table, given


def _structured(cell: str, field: FieldInfo | None, at: str) -> Any:
    """Lists and tables are JSON, but for what a text may begin with."""
    if field is None or field.annotation is str or cell[0] not in "[{":
        return cell
    return _json(cell, at)


def _cell(cell: str, spec: FeatureSpec | None, at: str, *, several: bool) -> Any:
    """The value of a feature, or for targeting its values."""
    if several:
        return [_value(v, spec) for v in cell.split(SEPARATOR)]
    if spec is not None and spec.multiple:
        return _json(cell, at)
    return _value(cell, spec)


def _json(cell: str, at: str) -> Any:
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        raise InvalidChange(at, "a list or an object as JSON", cell) from None


def _value(text: str, spec: FeatureSpec | None) -> str | int | float:
    """A number where the feature is one; what is none is refused when it is checked."""
    if spec is None or spec.dtype == "string":
        return text
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text


def write(out: Path, entries: Sequence[Entry], market: Market) -> list[Path]:
    """Writes a file that `read` takes, or for CSV a folder of one a kind; returns what was written.

    Raises:
      InvalidChange: it cannot be written.
    """
    given = {table: [_plain(e) for e in entries if kind_of(e) == kind] for table, kind in TABLES.items()}
    match out.suffix.lower():
        case ".toml":
            files = {out: "".join(_toml_lines(given))}
        case ".jsonl":
            files = {out: "".join(lines(entries))}
        case "":
            files = {out / f"{table}.csv": _csv_text(table, rows, market) for table, rows in given.items()}
        case _:
            raise InvalidChange(str(out), "expected a file that ends in .toml or .jsonl, or a folder for .csv files")
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as e:
        raise InvalidChange(str(out), f"cannot be written: {e.strerror}") from None
    return list(files)


def whole_market(file: Path, entries: Sequence[Entry]) -> str:
    """A market file that lists these instead of its own, without its comments: what a training takes its offers from."""
    raw = tomli.loads(file.read_text(encoding="utf-8-sig"))
    raw |= {table: [_plain(e) for e in entries if kind_of(e) == kind] for table, kind in TABLES.items()}
    tables = {name: value for name, value in raw.items() if isinstance(value, list) and value and isinstance(value[0], dict)}
    rest = "".join(f"{name} = {_toml_value(value)}\n" for name, value in raw.items() if name not in tables)
    return f"{rest}\n{''.join(_toml_lines(tables))}"


def lines(entries: Iterable[Entry]) -> Iterator[str]:
    """JSON lines."""
    for e in entries:
        yield orjson.dumps({"kind": kind_of(e)} | _plain(e)).decode() + "\n"


def _plain(entry: Entry) -> dict[str, Any]:
    return entry.model_dump(mode="json", exclude_defaults=True)


def _toml_lines(given: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    for table, rows in given.items():
        for row in rows:
            yield f"[[{table}]]\n"
            yield from (f"{name} = {_toml_value(value)}\n" for name, value in row.items())
            yield "\n"


def _toml_value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_text(k)} = {_toml_value(v)}" for k, v in value.items()) + " }" if value else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(value: str) -> str:
    """A basic string: JSON's escapes are TOML's, but for the one character that JSON leaves as it is."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _csv_text(table: str, rows: Sequence[Mapping[str, Any]], market: Market) -> str:
    nested = NESTED.get(table, "")
    split = [_split(row.get(nested, {})) if table == "campaigns" else (row.get(nested, {}), {}) for row in rows]
    wanted = (f.name for f in (market.request_features if table == "campaigns" else market.offer_features))
    by_column = {name for columns, _ in split for name in columns}
    named = [name for name in RECORDS[TABLES[table]].model_fields if name != nested or any(rest for _, rest in split)]
    columns = [*named, *(f"{nested}.{n}" for n in wanted if n in by_column)]
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for row, (in_columns, rest) in zip(rows, split, strict=True):
        cells = {name: value for name, value in row.items() if name != nested} | ({nested: rest} if rest else {})
        for name, value in in_columns.items():
            cells[f"{nested}.{name}"] = SEPARATOR.join(map(str, value)) if table == "campaigns" else value
        writer.writerow({k: json.dumps(v, ensure_ascii=False) if isinstance(v, list | dict) else v for k, v in cells.items()})
    return out.getvalue()


def _split(rule: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What of a rule fits into columns, and the rest."""
    plain = {n: v for n, v in rule.items() if isinstance(v, list) and not any(isinstance(x, dict) or _unfit(x) for x in v)}
    return plain, {name: said for name, said in rule.items() if name not in plain}


def _unfit(value: object) -> bool:
    return isinstance(value, str) and (not value or SEPARATOR in value)
