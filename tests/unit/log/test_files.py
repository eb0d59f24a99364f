"""The archive's file names are its state: what they say is archived is, and nothing else."""

from pathlib import Path

import orjson
import pyarrow as pa
import pytest
from log_entries import decision, decision_fields, event_fields, slot

from domain.errors import ContractError, InvalidTrainingData
from features.log_archive import ORIGIN, StreamId, archived_to, parts, read_log
from features.log_schema import event_schema
from features.market import Market, parse_market
from serving.archiver.files import discard_uncommitted, rejected_count, rejected_path, sole_archiver, write_part
from serving.archiver.rows import Entry, Rejected, log_formats

HOUR_MS = 3_600_000


def write(market: Market, log_dir: Path, first: StreamId, last: StreamId, rejected: list[Rejected]) -> Path:
    events, _ = log_formats(market)
    table, _ = events.table([Entry(first, event_fields("click", "i", "d", first.ms))])
    return write_part(log_dir, "events", table, rejected, first, last)


def test_a_part_is_named_by_its_ids_in_the_hour_of_its_log_time(market: Market, tmp_path: Path) -> None:
    path = write(market, tmp_path, StreamId(25 * HOUR_MS, 2), StreamId(25 * HOUR_MS + 9, 0), [])
    assert path.relative_to(tmp_path).as_posix() == "events/hour=1970-01-02T01/part-90000000-2-90000009-0.parquet"
    assert [(p.first, p.last) for p in parts(tmp_path, "events")] == [(StreamId(90_000_000, 2), StreamId(90_000_009, 0))]


def test_the_archive_ends_at_the_greatest_last_id_as_numbers_not_as_text(market: Market, tmp_path: Path) -> None:
    assert archived_to(tmp_path, "events") == ORIGIN
    write(market, tmp_path, StreamId(99, 0), StreamId(100, 9), [])
    write(market, tmp_path, StreamId(100, 10), StreamId(100, 11), [])
    assert archived_to(tmp_path, "events") == StreamId(100, 11)


def test_a_crash_leaves_nothing_that_counts(market: Market, tmp_path: Path) -> None:
    bad = Rejected(Entry(StreamId(5, 0), {b"d": b"\xff{"}), "why")
    write(market, tmp_path, StreamId(4, 0), StreamId(6, 0), [bad])
    # The archiver died after writing the rejected entries of 7 to 9 and in the middle of their part.
    rejected_path(tmp_path, "events", StreamId(7, 0), StreamId(9, 0)).write_bytes(b"{}\n")
    half = parts(tmp_path, "events")[0].path.with_name(".part-7-0-9-0.parquet.tmp")
    half.write_bytes(b"PAR1")
    (tmp_path / "rejected" / "events" / ".part-7-0-9-0.jsonl.tmp").write_bytes(b"{")
    discard_uncommitted(tmp_path, "events")
    assert archived_to(tmp_path, "events") == StreamId(6, 0)
    assert rejected_count(tmp_path, "events") == 1
    assert not list(tmp_path.glob("**/*.tmp"))
    (line,) = rejected_path(tmp_path, "events", StreamId(4, 0), StreamId(6, 0)).read_bytes().splitlines()
    kept = orjson.loads(line)
    assert (kept["id"], kept["reason"], kept["fields"]["d"].encode("latin-1")) == ("5-0", "why", b"\xff{")


def test_one_archiver_and_one_market_to_a_folder(tmp_path: Path) -> None:
    first, second = sole_archiver(tmp_path, "corner"), sole_archiver(tmp_path, "corner")
    with first, pytest.raises(ContractError, match="another archiver is writing here"), second:
        pass
    with pytest.raises(ContractError, match="of market 'corner', not of 'plaza'"), sole_archiver(tmp_path, "plaza"):
        pass
    with sole_archiver(tmp_path, "corner"):
        assert "corner" in (tmp_path / "archiver.lock").read_text()


def test_parts_written_under_an_older_market_are_read_under_todays(market: Market, tmp_path: Path) -> None:
    _, old = log_formats(market)
    fields = decision_fields(decision("d1", 5_000, slot("i1"), slot("i2", "card", 1)))
    table, _ = old.table([Entry(StreamId(1, 0), fields)])
    write_part(tmp_path, "decisions", table, [], StreamId(1, 0), StreamId(1, 0))
    raw = market.model_dump(exclude_none=True)
    raw["features"] = [f for f in raw["features"] if f["name"] != "amount"] + [
        {"name": "colour", "source": "offer", "default": "grey"},
        {"name": "city", "source": "shopper", "default": "unknown"},
    ]
    today = parse_market(raw)
    _, new = log_formats(today)
    (row,) = read_log(tmp_path, "decisions", new.schema).to_pylist()
    assert row["features"] == {"country": "DE", "past_clicks": 2, "city": None}
    assert [s["features"] for s in row["slots"]] == [{"brand": "leaf", "colour": None}, {"brand": "shop", "colour": None}]
    assert [s["impression_id"] for s in row["slots"]] == ["i1", "i2"]


def test_a_column_that_changed_its_type_is_named(market: Market, tmp_path: Path) -> None:
    write_part(tmp_path, "events", pa.table({"charged_micros": ["free"]}), [], StreamId(1, 0), StreamId(1, 0))
    with pytest.raises(InvalidTrainingData, match=r"part-1-0-1-0\.parquet: charged_micros: expected type int64, got 'string'"):
        read_log(tmp_path, "events", event_schema())


def test_reading_skips_parts_that_end_before(market: Market, tmp_path: Path) -> None:
    write(market, tmp_path, StreamId(10, 0), StreamId(20, 0), [])
    write(market, tmp_path, StreamId(21, 0), StreamId(30, 0), [])
    assert read_log(tmp_path, "events", event_schema(), since_ms=21)["stream_id"].to_pylist() == ["21-0"]
    assert read_log(tmp_path, "decisions", event_schema()).num_rows == 0
