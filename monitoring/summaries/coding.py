"""How a summary is kept: a letter for its kind, and deflated JSON."""

import zlib
from typing import Any

import orjson

from domain.errors import ContractError


def packed(kind: bytes, said: object) -> bytes:
    """Of what JSON and NumPy arrays of integers can hold."""
    return kind + zlib.compress(orjson.dumps(said, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_SORT_KEYS), 6)


def unpacked(kind: bytes, text: bytes) -> Any:
    """The inverse of `packed`.

    Raises:
      ContractError: it is of another kind, or damaged.
    """
    if text[:1] != kind:
        raise ContractError(f"summary: expected one of kind {kind!r}, got {text[:1]!r}")
    try:
        return orjson.loads(zlib.decompress(text[1:]))
    except (zlib.error, ValueError) as e:
        raise ContractError(f"summary of kind {kind!r}: is damaged: {e}") from None
