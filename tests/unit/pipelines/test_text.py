"""Text that is not UTF-8 is named where it stands, in whatever column type."""

import pyarrow as pa
import pytest

from domain.errors import InvalidTrainingData
from pipelines.text import readable

KOELN = "Köln".encode("latin-1")


def unchecked(values: list[bytes | None], kind: pa.DataType) -> pa.Array:
    """A column of text as a careless writer leaves it."""
    raw = pa.array(values, pa.large_binary() if str(kind).startswith("large") else pa.binary())
    return pa.Array.from_buffers(kind, len(raw), raw.buffers(), raw.null_count)


def read(raw: pa.Array) -> pa.Array:
    batch = pa.RecordBatch.from_arrays([raw], names=["city"])
    return readable(batch, lambda column, row: f"log: column {column!r}, row {row + 1}").column(0)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()], ids=str)
def test_every_type_of_text_becomes_one(kind: pa.DataType) -> None:
    assert read(unchecked(["Köln".encode(), None, b""], kind)).equals(pa.array(["Köln", None, ""]))


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()], ids=str)
def test_other_bytes_are_refused_by_row(kind: pa.DataType) -> None:
    with pytest.raises(InvalidTrainingData, match=r"log: column 'city', row 3: expected UTF-8 text, got b'K\\xf6ln'"):
        read(unchecked([b"Ulm", None, KOELN], kind))


def test_dictionaries_are_looked_through() -> None:
    cities = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int8()), unchecked([b"Ulm", KOELN], pa.string()))
    with pytest.raises(InvalidTrainingData, match="row 2: expected UTF-8"):
        read(cities)
    assert read(pa.array(["a", "b", "a"]).dictionary_encode()).equals(pa.array(["a", "b", "a"]))


def test_lists_and_weights_are_looked_through() -> None:
    flat = unchecked([b"Ulm", b"Bonn", KOELN], pa.string())
    with pytest.raises(InvalidTrainingData, match="row 2: expected UTF-8"):
        read(pa.ListArray.from_arrays(pa.array([0, 1, 3], pa.int32()), flat))
    weighted = pa.StructArray.from_arrays([flat, pa.array([1.0, 2.0, 3.0])], ["value", "weight"])
    with pytest.raises(InvalidTrainingData, match="row 2: expected UTF-8"):
        read(pa.ListArray.from_arrays(pa.array([0, 1, 3], pa.int32()), weighted))
