"""Keys to split rows by: a shopper's key is the same key whatever type a file has it in."""

import re
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.refusals import Where, refuse_first, refuse_type
from pipelines.text import holds_several, plain_key

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?")


def key_column(raw: pa.Array, where: Where) -> pa.Array:
    """Keys, null for null, NaN and "".

    Raises:
      InvalidTrainingData: lists or the like; or whole numbers so large that their float type takes several for one.
    """
    raw = plain_key(raw)
    if pa.types.is_null(raw.type):
        return raw.cast(pa.string())
    if holds_several(raw.type):
        refuse_type(raw, "one key per row", where)
    if pa.types.is_floating(raw.type):
        values = raw.cast(pa.float64()).to_numpy(zero_copy_only=False)
        exact = 2.0**53 if pa.types.is_float64(raw.type) else 2.0**24
        refuse_first(np.abs(np.nan_to_num(values)) > exact, raw, f"a key that {raw.type} holds exactly", where)
        return pa.array(values, mask=np.isnan(values))
    return raw


def canonical(key: Any) -> str:
    """One text for all that say the same: 5, 5.0, Decimal("5.00"), "5" and "05" are one key."""
    text = decoded(key) if isinstance(key, bytes) else str(key)
    if isinstance(key, int) or not _NUMBER.fullmatch(text):
        return text
    number = Decimal(text)
    return str(int(number)) if number == number.to_integral_value() else format(number.normalize(), "f")


def decoded(key: bytes) -> str:
    """As text, or in hex what is none."""
    try:
        return key.decode()
    except UnicodeDecodeError:
        return key.hex()
