"""Rows that come last piece first stand in their order, or not at all."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from models.log_used import LogUsed
from pipelines.row_groups import log_used, written_in_order


def piece(*numbers: int) -> pa.Table:
    return pa.table({"number": list(numbers), "text": [str(n) for n in numbers]})


def test_the_last_piece_first_and_what_became_of_the_log(tmp_path: Path) -> None:
    used = LogUsed(clicked=8, clicks_without_impression=2, not_rendered=3, orphan_events=1)
    with written_in_order(tmp_path / "new" / "rows.parquet") as pieces:
        for numbers in ((5, 6), (4,), (1, 2, 3)):
            pieces.take(piece(*numbers))
        pieces.metadata = used.metadata()
    assert pq.read_table(tmp_path / "new" / "rows.parquet")["number"].to_pylist() == [1, 2, 3, 4, 5, 6]
    assert log_used(tmp_path / "new" / "rows.parquet") == used
    assert used.sentence == "2 of 8 clicks (25.0%) had no impression reported, and are no rows"
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["rows.parquet"]


def test_pieces_are_read_again_in_their_order_before_what_is_kept_of_them_becomes_the_file(tmp_path: Path) -> None:
    with written_in_order(tmp_path / "rows.parquet") as pieces:
        for numbers in ((5, 6), (3, 4), (1, 2)):
            pieces.take(piece(*numbers))
        mean = sum(sum(rows["number"].to_pylist()) for rows in pieces) / 6
        assert [rows["number"].to_pylist() for rows in pieces] == [[1, 2], [3, 4], [5, 6]]
        pieces.edit = lambda rows: rows.filter(pc.greater(rows["number"], mean))
    kept = pq.ParquetFile(tmp_path / "rows.parquet")
    assert kept.read()["number"].to_pylist() == [4, 5, 6]
    assert kept.num_row_groups == 2


def test_rows_from_elsewhere_say_nothing_of_a_log(tmp_path: Path) -> None:
    pq.write_table(piece(1), tmp_path / "rows.parquet")
    (tmp_path / "rows.csv").write_text("number\n1\n")
    assert [log_used(tmp_path / name) for name in ("rows.parquet", "rows.csv", "")] == [None, None, None]


def test_an_error_on_the_way_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(piece(7), path)

    def half_way() -> None:
        with written_in_order(path) as pieces:
            pieces.take(piece(2))
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        half_way()
    assert pq.read_table(path)["number"].to_pylist() == [7]
    assert [p.name for p in tmp_path.iterdir()] == ["rows.parquet"]
