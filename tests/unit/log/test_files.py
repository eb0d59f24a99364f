"""The archive's newest part is its state: what it says is archived is, and nothing else."""

from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_entries import decision, decision_fields, event_fields, slot

from domain.errors import ContractError, InvalidTrainingData
from features.log_archive import ORIGIN, Archived, Part, StreamId, archived, begun_ms, parts, read_log
from features.log_schema import decision_schema, event_schema
from features.market import Market, parse_market
from serving.archiver.files import discard_uncommitted, rejected_count, rejected_path, sole_archiver, write_part
from serving.archiver.rows import Entry, Rejected, log_formats

HOUR_MS = 3_600_000


def write(market: Market, log_dir: Path, first: StreamId, last: StreamId, rejected: list[Rejected]) -> Path:
    events, _ = log_formats(market)
    table, _ = events.table([Entry(first, event_fields("click", "i", "d", first.ms))])
    return write_part(log_dir, "events", table, rejected, first, last)


def test_a_part_has_a_number_and_the_times_of_its_entries_in_the_hour_of_the_first(market: Market, tmp_path: Path) -> None:
    path = write(market, tmp_path, StreamId(25 * HOUR_MS, 2), StreamId(25 * HOUR_MS + 9, 0), [])
    assert path.relative_to(tmp_path).as_posix() == "events/hour=1970-01-02T01/part-0000000001-90000000-90000009.parquet"
    assert parts(tmp_path, "events") == [Part(1, 90_000_000, 90_000_009, path)]


def test_the_newest_part_says_how_far_every_stream_is_archived(market: Market, tmp_path: Path) -> None:
    assert archived(tmp_path, "events") == Archived(0, {}, 0)
    events, _ = log_formats(market)
    table, _ = events.table([Entry(StreamId(99, 0), event_fields("click", "i", "d", 99), 3)])
    write_part(tmp_path, "events", table, [], StreamId(99, 0), StreamId(99, 0), Archived(9, {3: StreamId(99, 0)}, 98))
    # Committed later, though of an earlier hour and of another stream.
    to = Archived(10, {3: StreamId(99, 0), 15: StreamId(7, 9)}, 98)
    write_part(tmp_path, "events", table, [], StreamId(7, 9), StreamId(7, 9), to)
    found = archived(tmp_path, "events")
    assert found == to
    assert (found.to(15), found.to(3), found.to(0)) == (StreamId(7, 9), StreamId(99, 0), ORIGIN)
    assert read_log(tmp_path, "events", events.schema)["partition"].to_pylist() == [3, 3]


def test_hours_that_ended_before_are_not_looked_through(market: Market, tmp_path: Path) -> None:
    for hour in (1, 30):
        write(market, tmp_path, StreamId(hour * HOUR_MS + 5, 0), StreamId(hour * HOUR_MS + 9, 0), [])
    (tmp_path / "events" / "hour=1970-01-02T05").touch()  # whatever that is
    assert [p.number for p in parts(tmp_path, "events", 30 * HOUR_MS + 7)] == [2]
    assert [p.number for p in parts(tmp_path, "events", HOUR_MS + 7)] == [1, 2]
    assert parts(tmp_path, "events", 31 * HOUR_MS) == []
    assert (begun_ms(tmp_path, "events"), begun_ms(tmp_path, "decisions")) == (HOUR_MS + 5, None)


def test_the_newest_decisions_say_how_far_those_of_all_hours_are_archived(market: Market, tmp_path: Path) -> None:
    _, decisions = log_formats(market)
    for hour in (1, 30):
        table, _ = decisions.table([Entry(StreamId(hour * HOUR_MS, 0), decision_fields(decision("d", 9)))])
        write_part(tmp_path, "decisions", table, [], StreamId(hour * HOUR_MS, 0), StreamId(hour * HOUR_MS, 4))
    assert archived(tmp_path, "decisions") == Archived(2, {0: StreamId(30 * HOUR_MS, 4)}, 30 * HOUR_MS)
    (tmp_path / "decisions" / "hour=1970-01-03T00").mkdir()  # made for a part that never came
    assert archived(tmp_path, "decisions").number == 2


def of_before(log_dir: Path, log: str, table: pa.Table, first: str, last: str) -> None:
    """A part as archivers wrote it when names were the only state."""
    path = log_dir / log / "hour=1970-01-01T00" / f"part-{first}-{last}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def test_an_archive_of_before_is_read_and_its_decisions_go_on(market: Market, tmp_path: Path) -> None:
    for log, fields in zip(
        log_formats(market), (event_fields("click", "i", "d", 9), decision_fields(decision("d", 9))), strict=True
    ):
        later = {"partition", "reason", "order_id", "beyond"}
        for ms, last in ((99, "100-9"), (100, "100-11")):
            table, _ = log.table([Entry(StreamId(ms, 0), fields)])
            kept = table.select([n for n in table.column_names if n not in later])
            of_before(tmp_path, log.name, kept, f"{ms}-0", last)
        assert read_log(tmp_path, log.name, log.schema)["stream_id"].to_pylist() == ["99-0", "100-0"]
        assert read_log(tmp_path, log.name, log.schema)["beyond"].null_count == 2
    assert archived(tmp_path, "decisions") == Archived(0, {0: StreamId(100, 11)}, 100)
    # The streams of events have begun anew, one per partition; that the old one is complete up to its end still holds.
    assert archived(tmp_path, "events") == Archived(0, {}, 100)
    write(market, tmp_path, StreamId(200, 0), StreamId(200, 0), [])
    assert archived(tmp_path, "events") == Archived(1, {0: StreamId(200, 0)}, 200)
    assert [p.number for p in parts(tmp_path, "events")] == [0, 0, 1]


def test_a_newest_part_that_cannot_say_how_far_is_an_error_not_a_beginning(market: Market, tmp_path: Path) -> None:
    path = write(market, tmp_path, StreamId(7, 0), StreamId(7, 0), [])
    whole = path.read_bytes()
    for damaged in (whole[:-1], b""):
        path.write_bytes(damaged)
        with pytest.raises(ContractError, match=r"part-0000000001-7-7\.parquet: expected a part that says how far"):
            archived(tmp_path, "events")
    pq.write_table(pa.table({"stream_id": ["7-0"]}), path)
    with pytest.raises(ContractError, match="expected a part that says how far"):
        archived(tmp_path, "events")


def test_a_crash_leaves_nothing_that_counts(market: Market, tmp_path: Path) -> None:
    bad = Rejected(Entry(StreamId(5, 0), {b"d": b"\xff{"}, 4), "why")
    path = write(market, tmp_path, StreamId(4, 0), StreamId(6, 0), [bad])
    # The archiver died after writing the rejected entries of the next part and in the middle of the part itself.
    rejected_path(tmp_path, "events", "part-0000000002-7-9").write_bytes(b"{}\n")
    path.with_name(".part-0000000002-7-9.parquet.tmp").write_bytes(b"PAR1")
    (tmp_path / "rejected" / "events" / ".part-0000000002-7-9.jsonl.tmp").write_bytes(b"{")
    discard_uncommitted(tmp_path, "events")
    assert archived(tmp_path, "events").number == 1
    assert rejected_count(tmp_path, "events") == 1
    assert not list(tmp_path.glob("**/*.tmp"))
    (line,) = rejected_path(tmp_path, "events", path.stem).read_bytes().splitlines()
    kept = orjson.loads(line)
    assert (kept["id"], kept["stream"], kept["reason"]) == ("5-0", 4, "why")
    assert kept["fields"]["d"].encode("latin-1") == b"\xff{"


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
    with pytest.raises(
        InvalidTrainingData, match=r"part-0000000001-1-1\.parquet: charged_micros: expected type int64, got 'string'"
    ):
        read_log(tmp_path, "events", event_schema())


def test_reading_skips_parts_that_end_before(market: Market, tmp_path: Path) -> None:
    write(market, tmp_path, StreamId(10, 0), StreamId(20, 0), [])
    write(market, tmp_path, StreamId(21, 0), StreamId(30, 0), [])
    assert read_log(tmp_path, "events", event_schema(), since_ms=21)["stream_id"].to_pylist() == ["21-0"]
    assert read_log(tmp_path, "decisions", event_schema()).num_rows == 0


def test_a_market_without_request_features_has_an_archive_too(market: Market, tmp_path: Path) -> None:
    bare = market.model_copy(update={"features": tuple(f for f in market.features if f.source == "offer")})
    _, decisions = log_formats(bare)
    made = decision("d1", 5_000, slot("i1"), features={})
    table, rejected = decisions.table([Entry(StreamId(7, 0), decision_fields(made))])
    assert not rejected
    write_part(tmp_path, "decisions", table, [], StreamId(7, 0), StreamId(7, 0))
    assert read_log(tmp_path, "decisions", decision_schema(bare))["decision_id"].to_pylist() == ["d1"]
