"""The rows of a split by column: features lie on disk and are read when they are asked for, one at a time.

Metrics take a few bytes of a row, its labels and what was predicted of it; the features of all rows would take hundreds, and no
step needs more than one of them, or more than some rows, at once.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.market import Market
from pipelines.examples_io import BATCH_ROWS, files_of, read_tensors

Columns = Mapping[str, NDArray[Any]]


class SplitColumns(Mapping[str, NDArray[Any]]):
    """Columns by name, [R] or [R, width] each; text as str, in few objects where it repeats itself.

    Args:
      held: columns beside the features, which are in memory.
    """

    def __init__(self, market: Market, files: list[str], held: Columns) -> None:
        self._tensors = {t.name: t for f in market.features for t in f.tensors}
        self._market, self._files, self._held = market, files, held

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name in self._held:
            return self._held[name]
        return np.concatenate([batch[name] for batch in self._read([name])])

    def __contains__(self, name: object) -> bool:
        return name in self._held or name in self._tensors

    def __iter__(self) -> Iterator[str]:
        yield from self._held
        yield from (name for name in self._tensors if name not in self._held)

    def __len__(self) -> int:
        return len(set(self._held) | set(self._tensors))

    def __or__(self, more: Columns) -> "SplitColumns":
        """With more columns, which are held."""
        return SplitColumns(self._market, self._files, {**self._held, **more})

    def batches(self, names: Iterable[str]) -> Iterator[dict[str, NDArray[Any]]]:
        """Some columns, BATCH_ROWS rows at a time."""
        names = list(names)
        start = 0
        for batch in self._read([name for name in names if name not in self._held]):
            end = start + len(next(iter(batch.values())))
            yield {name: batch[name] if name in batch else self._held[name][start:end] for name in names}
            start = end

    def _read(self, names: list[str]) -> Iterator[dict[str, NDArray[Any]]]:
        """Features, or where none is asked for the first, which says how many rows a batch has."""
        decoded: dict[bytes, str] = {}
        tensors = [self._tensors[name] for name in names] or [next(iter(self._tensors.values()))]
        for batch, _ in read_tensors(self._files, tensors, []):
            for tensor in (t for t in tensors if t.dtype == "string"):
                flat = [decoded.setdefault(value, value.decode()) for value in batch[tensor.name].ravel().tolist()]
                batch[tensor.name] = np.array(flat, object).reshape(batch[tensor.name].shape)
            yield batch


def split_columns(market: Market, examples_uri: str, split: str) -> SplitColumns:
    """All rows of a split, labels and what else they say beside the features in memory."""
    files = files_of(examples_uri, split)
    others = [*(t.label for t in market.tasks), *market.row_columns]
    batches = [held for _, held in read_tensors(files, [], others)]
    return SplitColumns(market, files, {name: np.concatenate([b.pop(name) for b in batches]) for name in dict.fromkeys(others)})


def in_batches(rows: Columns, names: Iterable[str]) -> Iterator[Columns]:
    """Some columns of rows, BATCH_ROWS rows at a time, wherever they lie."""
    if isinstance(rows, SplitColumns):
        yield from rows.batches(names)
        return
    names = list(names)
    for start in range(0, len(rows[names[0]]), BATCH_ROWS):
        yield {name: rows[name][start : start + BATCH_ROWS] for name in names}
