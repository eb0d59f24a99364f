"""The reference of market.toml, written from the models that read it, so that the two cannot differ."""

import json
from collections.abc import Iterator
from typing import Any

from features.market import Market


def market_reference() -> str:
    """Markdown: one table per TOML table, with type, default and meaning of every key."""
    schema = Market.model_json_schema()
    return "\n".join(_tables("", schema, schema["$defs"]))


def _tables(path: str, schema: dict[str, Any], records: dict[str, Any]) -> Iterator[str]:
    nested: list[tuple[str, dict[str, Any]]] = []
    yield from (
        f"## {path or 'Top level'}",
        "",
        schema.get("description", ""),
        "",
        "| key | type | default | meaning |",
        "| --- | --- | --- | --- |",
    )
    required = set(schema.get("required", ()))
    for key, field in schema["properties"].items():
        kind, record, listed = _type(field, records)
        default = "required" if key in required else _literal(field.get("default"))
        if record is not None:
            name = f"{path.strip('[]')}.{key}" if path else key
            nested.append((f"[[{name}]]" if listed else f"[{name}]", record))
            absent = "default" in field and field["default"] is None
            default = default if key in required or absent else "see below"
        meaning = field.get("description") or (record or {}).get("description", "")
        yield f"| `{key}` | {kind} | {default} | {_cell(meaning)} |"
    yield ""
    for name, record in nested:
        yield from _tables(name, record, records)


def _type(field: dict[str, Any], records: dict[str, Any]) -> tuple[str, dict[str, Any] | None, bool]:
    """A field's type in words, the record it holds, if any, and whether as a list or table of them."""
    if "$ref" in field:
        record = records[field["$ref"].rsplit("/", 1)[1]]
        if "enum" in record:
            return _one_of(record["enum"]), None, False
        return "table", record, False
    if "enum" in field or "const" in field:
        return _one_of(field.get("enum", [field.get("const")])), None, False
    if "anyOf" in field:
        options = [_type(option, records) for option in field["anyOf"] if option.get("type") != "null"]
        record = options[0][1] if len(options) == 1 else None
        return " or ".join(dict.fromkeys(kind for kind, _, _ in options)), record, False
    if field.get("type") == "array":
        items = field.get("items", {})
        kind, record, _ = _type(items, records) if items else ("values", None, False)
        return ("tables" if record else f"list of {kind}"), record, True
    if field.get("type") == "object":
        if not isinstance(field.get("additionalProperties"), dict):
            return "table", None, False
        kind, record, _ = _type(field["additionalProperties"], records)
        return f"table of {kind}", record, False
    return f"{field['type']}{_bounds(field)}", None, False


def _literal(value: object) -> str:
    return "none" if value is None else f"`{json.dumps(value)}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _one_of(values: list[str]) -> str:
    return " \\| ".join(f"`{v}`" for v in values)


def _bounds(field: dict[str, Any]) -> str:
    names = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {field[name]}" for name, sign in names.items() if name in field]
    return f", {', '.join(bounds)}" if bounds else ""
