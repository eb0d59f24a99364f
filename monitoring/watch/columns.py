"""The columns of an archived part that the monitor needs, whatever market and version of pyarrow wrote it."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from domain.errors import ContractError
from features.log_archive import Part
from features.log_schema import contiguous

Ints = NDArray[np.int64]
_ITEM = re.compile(r"\.list\.(item|element)\b|\.key_value\b")
"""What Parquet puts into the path of a list's or map's values, by version."""


@contextmanager
def opened(part: Part) -> Iterator[pq.ParquetFile]:
    """A part to read.

    Raises:
      ContractError: it is damaged, or gone.
    """
    try:
        with pq.ParquetFile(part.path, memory_map=True) as file:
            yield file
    except (pa.ArrowException, OSError) as e:
        raise ContractError(f"{part.path}: is damaged or gone: {str(e).splitlines()[0]}") from None


@dataclass(frozen=True, slots=True)
class Columns:
    """Leaves of a part by path, as `features.country`, `slots.campaign_id` or `candidates.reason`; lists stay lists."""

    table: pa.Table
    rows: int
    _whole: dict[str, pa.Array] = field(default_factory=dict, repr=False)
    """Top columns in one piece: made once, as a struct may have thousands of fields."""

    @classmethod
    def read(cls, file: pq.ParquetFile, wanted: Sequence[str]) -> Self:
        """Those of the paths that the part has, with all that is within them.

        Raises:
          ContractError: the part is damaged.
        """
        has = {file.schema.column(i).path for i in range(len(file.schema))}
        names = [path for path in has if _is_wanted(_ITEM.sub("", path), wanted)]
        try:
            return cls(file.read(names), file.metadata.num_rows)
        except (pa.ArrowException, OSError) as e:
            raise ContractError(f"is damaged: {str(e).splitlines()[0]}") from None

    def leaf(self, path: str) -> pa.Array | None:
        """One column, contiguous; None where the part does not have it."""
        name, *inner = path.split(".")
        if name not in self.table.column_names:
            return None
        if (array := self._whole.get(name)) is None:
            array = self._whole[name] = contiguous(self.table[name])
        for step in inner:
            if not pa.types.is_struct(array.type) or (at := array.type.get_field_index(step)) < 0:
                return None
            array = pc.struct_field(array, [at]) if array.null_count else array.field(at)
        return array

    def text(self, path: str) -> pa.Array:
        """A column of text, "" where there is none."""
        array = self.leaf(path)
        return pa.array([""] * self.rows) if array is None else pc.fill_null(array, "")

    def text_of(self, path: str) -> pa.Array:
        """Text or whole numbers, null where there is none."""
        array = self.leaf(path)
        return pa.nulls(self.rows, pa.string()) if array is None else array

    def ints(self, path: str) -> Ints:
        """A column of whole numbers, 0 where there is none."""
        array = self.leaf(path)
        if array is None:
            return np.zeros(self.rows, np.int64)
        return np.asarray(pc.fill_null(array, 0).to_numpy(zero_copy_only=False), np.int64)

    def floats(self, path: str) -> NDArray[np.float64]:
        """A column of numbers, NaN where there is none."""
        array = self.leaf(path)
        return np.full(self.rows, np.nan) if array is None else numbers(array)

    def unnested(self, path: str) -> "tuple[Columns, Ints]":
        """The structs of a list as rows of their own, and which row each is of."""
        lists = self.leaf(path)
        if lists is None or not len(lists):
            return Columns(pa.table({}), 0), np.zeros(0, np.int64)
        structs = pc.list_flatten(lists)
        row = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False).astype(np.int64)
        names = [structs.type[i].name for i in range(structs.type.num_fields)]
        columns = {name: structs.field(i) for i, name in enumerate(names)}
        return Columns(pa.table(columns), len(structs)), row

    def take(self, rows: Ints) -> "Columns":
        """Some of the rows."""
        return Columns(self.table.take(pa.array(rows)), len(rows))


def numbers(array: pa.Array) -> NDArray[np.float64]:
    """A column as floats, NaN for null."""
    return np.asarray(pc.cast(array, pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)


def _is_wanted(path: str, wanted: Sequence[str]) -> bool:
    return any(path == name or path.startswith(f"{name}.") for name in wanted)
