"""Lists that a CSV file writes out."""

import pyarrow as pa
import pytest

from domain.errors import InvalidTrainingData
from pipelines.written_lists import lists_in


def where(row: int) -> str:
    return f"row {row + 1}"


@pytest.mark.parametrize(
    ("said", "items"),
    [
        ("a|b", ["a", "b"]),
        ("a", ["a"]),
        ("", None),
        ("[]", []),
        ("['a', 'b']", ["a", "b"]),
        ("['a']", ["a"]),
        ('["a", "b"]', ["a", "b"]),
        ("""['it\\'s', "o'clock", 'a, b']""", ["it's", "o'clock", "a, b"]),
        ("['a' 'b'\n 'c']", ["a", "b", "c"]),
        ("[1, 2]", ["1", "2"]),
        ("[1 2]", ["1", "2"]),
        ("[9007199254740993, 1.0]", ["9007199254740993", "1.0"]),
        ('["K\\u00f6ln"]', ["Köln"]),
        ("[None, 'a']", ["", "a"]),
        ("[true, null]", ["true", ""]),
        (" ['a'] ", ["a"]),
        ("[a]|[b]", ["[a]", "[b]"]),
        ("[a", ["[a"]),
    ],
)
def test_a_list_is_a_list_however_it_is_written(said: str, items: list[str] | None) -> None:
    assert lists_in(pa.array(["x", said, None]), False, where).to_pylist() == [["x"], items, None]


@pytest.mark.parametrize(
    "said", ["[a, b]", "[[1], [2]]", "{a,b}", "['a', b]", "[1 2 ... 9]", "['\\ud800']", '["\\ud800"]', "[oops]"]
)
def test_what_only_looks_like_a_list_is_refused_by_row(said: str) -> None:
    with pytest.raises(InvalidTrainingData, match=r"row 2: expected a list such as a\|b or"):
        lists_in(pa.array(["x", said]), False, where)


@pytest.mark.parametrize("said", ['{"tea": 0.5, "a:b": 2}', "{'tea': 0.5, 'a:b': 2}", "tea:0.5|a:b:2", "['tea:0.5', 'a:b:2']"])
def test_weights_may_be_a_table(said: str) -> None:
    assert lists_in(pa.array([said]), True, where).to_pylist() == [["tea:0.5", "a:b:2"]]


def test_what_is_no_table_of_weights_is_refused_by_row() -> None:
    with pytest.raises(InvalidTrainingData, match="row 1: expected a table such as"):
        lists_in(pa.array(["{tea, jam}"]), True, where)
