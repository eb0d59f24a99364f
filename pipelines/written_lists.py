"""Lists in text, as CSV files have them: `a|b`, JSON, Python's `['a', 'b']`, NumPy's `['a' 'b']`."""

import ast
import json
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from domain.errors import InvalidTrainingData
from pipelines.refusals import Where
from pipelines.text import blank_as_null

SEPARATOR = "|"
EXPECTED = """a list such as a|b or ["a", "b"]"""
_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_ITEM = rf"(?:{_QUOTED}|[+-]?\d[\w.+-]*|None|nan|null|True|False)"
_WITH_COMMAS = re.compile(rf"\[\s*(?:{_ITEM}(?:\s*,\s*{_ITEM})*\s*,?\s*)?\]", re.DOTALL)
_WITH_SPACES = re.compile(rf"\[\s*{_ITEM}(?:\s+{_ITEM})*\s*\]", re.DOTALL)
_WORDS = {"None": None, "nan": None, "null": None, "True": True, "False": False}
_ITEMS = re.compile(_ITEM, re.DOTALL)


def lists_in(text: pa.Array, weighted: bool, where: Where) -> pa.Array:
    """Text -> lists of text; null and "" -> null.

    Args:
      weighted: `{"a": 0.5}` is the list of `a:0.5`.
    Raises:
      InvalidTrainingData: it begins and ends as a list that is written out, and is none.
    """
    split = pc.split_pattern(blank_as_null(text), SEPARATOR)
    form = r"(?s)^\s*(\[.*\]|\{.*\})\s*$"
    written = np.flatnonzero(pc.fill_null(pc.match_substring_regex(text, form), False).to_numpy(zero_copy_only=False))
    if not len(written):
        return split
    lists, known = split.to_pylist(), dict[str, list[str] | None]()
    for row, said in zip(written.tolist(), text.take(pa.array(written)).to_pylist(), strict=True):
        if said not in known:
            known[said] = _as_text(said.strip(), weighted)
        items = known[said]
        if items is None:
            raise InvalidTrainingData(where(row), """a table such as {"a": 0.5}""" if weighted else EXPECTED, said)
        lists[row] = items
    return pa.array(lists, pa.list_(pa.string()))


def _as_text(said: str, weighted: bool) -> list[str] | None:
    """`_items`, or None where escapes in it make no text."""
    try:
        items = _items(said, weighted)
        "".join(items or ()).encode()
    except (ValueError, SyntaxError):
        return None
    return items


def _items(said: str, weighted: bool) -> list[str] | None:
    """What a list that is written out holds, as text; "" for nothing; None of what is no list of single values."""
    if said.startswith("{"):
        table = _table(said) if weighted else None
        return None if table is None else [f"{_text(value)}:{_text(weight)}" for value, weight in table.items()]
    try:
        items = json.loads(said, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        if not _WITH_COMMAS.fullmatch(said) and not _WITH_SPACES.fullmatch(said):
            return said.split(SEPARATOR) if SEPARATOR in said else None
        items = [_word(one) for one in _ITEMS.findall(said)]
    return None if any(isinstance(item, list | dict) for item in items) else [_text(item) for item in items]


def _table(said: str) -> dict[Any, Any] | None:
    for read in (json.loads, ast.literal_eval):
        try:
            table = read(said)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return table if isinstance(table, dict) else None
    return None


def _word(said: str) -> Any:
    """What one of Python's items is; a number stays as it is written."""
    return ast.literal_eval(said) if said[0] in "'\"" else _WORDS.get(said, said)


def _text(item: Any) -> str:
    if item is None:
        return ""
    return str(item).lower() if isinstance(item, bool) else str(item)
