"""What columns of a log say of each other: which describe the offer, which tell the outcome, which are new every time."""

from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from offerrank.starting.seen import Log
from pipelines.times import time_column

NEWEST = 0.2
"""Share of the rows that a split by time judges by."""
_BETWEEN = "\x1f"


def descriptions(log: Log, offer: str, columns: Iterable[str]) -> dict[str, dict[str, str]]:
    """Column -> offer -> its value, of the columns that have one value per offer."""
    left = [c for c in columns if not log.columns[c].many and log.columns[c].type in ("text", "number", "flag")]
    told: dict[str, dict[str, str]] = {c: {} for c in left}
    for batch in log.batches(offer, *left):
        named = dict(zip(batch.schema.names, batch.columns, strict=True))
        for column in list(told):
            pairs = pc.unique(pc.binary_join_element_wise(_texts(named[offer]), _texts(named[column]), _BETWEEN))
            for pair in pairs.drop_null().to_pylist():
                key, value = pair.split(_BETWEEN, 1)
                if told[column].setdefault(key, value) != value:
                    del told[column]
                    break
    # A column that hardly differs among offers, and one that takes as many values as there are rows, describe nothing.
    return {c: values for c, values in told.items() if len(values) > 1}


def giveaways(log: Log, label: str, columns: Iterable[str]) -> dict[str, float]:
    """Column -> share of the rows whose outcome its value tells, of those that nearly tell it by themselves."""
    few = [c for c in columns if len(log.columns[c].counts) <= 50 and not log.columns[c].many and log.columns[c].type != "list"]
    counts: dict[str, defaultdict[str, Counter[str]]] = {c: defaultdict(Counter) for c in few}
    for batch in log.batches(label, *few):
        named = dict(zip(batch.schema.names, batch.columns, strict=True))
        for column, found in counts.items():
            joined = pc.binary_join_element_wise(_texts(named[column]), _texts(named[label]), _BETWEEN)
            for pair in pc.value_counts(joined.drop_null()).to_pylist():
                value, outcome = pair["values"].split(_BETWEEN, 1)
                found[value][outcome] += pair["counts"]
    usual = max(log.columns[label].counts.values()) / log.rows
    told = {c: sum(max(outcomes.values()) for outcomes in found.values()) / log.rows for c, found in counts.items()}
    return {c: share for c, share in told.items() if share > 1 - 0.01 * (1 - usual)}


def implies(log: Log, sale: str, click: str, yes: tuple[str | None, str | None]) -> bool:
    """Whether a row with the one label always has the other.

    Args:
      yes: the texts that mean 1 of `sale` and `click`; None of 1, Y, yes, true.
    """
    for batch in log.batches(sale, click):
        sold, clicked = (_is_yes(_texts(batch.column(i)), yes[i]) for i in (0, 1))
        if (sold & ~clicked).any():
            return False
    return True


def new_in_time(log: Log, time: str, columns: Iterable[str]) -> dict[str, float]:
    """Column -> share of the newest rows whose value no earlier row has."""
    wanted = list(columns)
    if not wanted:
        return {}
    at = np.concatenate([time_column(b.column(0), str).values for b in log.batches(time)])
    cut, start = float(np.quantile(at, 1 - NEWEST)), 0
    before: dict[str, set[str]] = {c: set() for c in wanted}
    after: dict[str, Counter[str]] = {c: Counter() for c in wanted}
    for batch in log.batches(*wanted):
        early = pa.array(at[start : start + batch.num_rows] <= cut)
        start += batch.num_rows
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            texts = _texts(column)
            before[name].update(pc.unique(texts.filter(early)).to_pylist())
            late = pc.value_counts(texts.filter(pc.invert(early)))
            after[name].update({pair["values"]: pair["counts"] for pair in late.to_pylist()})
    return {c: sum(n for value, n in after[c].items() if value not in before[c]) / max(after[c].total(), 1) for c in wanted}


def _texts(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_floating(column.type):  # whole ones as `Seen` counts them
        return pa.array(
            [None if v is None else str(int(v)) if v == v and float(v).is_integer() else str(v) for v in column.to_pylist()],
            pa.string(),
        )
    return column.cast(pa.string()).fill_null("")


def _is_yes(texts: pa.Array, yes: str | None) -> NDArray[np.bool_]:
    said = pc.utf8_lower(pc.utf8_trim_whitespace(texts))
    words = [yes.strip().lower()] if yes is not None else ["1", "1.0", "y", "yes", "t", "true"]
    found: NDArray[np.bool_] = pc.fill_null(pc.is_in(said, value_set=pa.array(words)), False).to_numpy(zero_copy_only=False)
    return found
