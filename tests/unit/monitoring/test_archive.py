"""Decisions in the archive: found by what they are, bounded in rows and seconds; shopper keys only for who may see them."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_entries import MARKET_TOML, decision, slot
from watched_archive import BEGIN_MS, HOUR_MS, WatchedArchive

from domain.events import EventType
from features.log_archive import DECISIONS, part_path, parts_by_hour
from monitoring.dashboard.app import create_app
from monitoring.dashboard.archive import Archive, Wanted
from monitoring.dashboard.lineage import Lineage
from monitoring.dashboard.settings import DashboardSettings
from store.sqlite import FileUnavailable


@pytest.fixture(scope="module")
def log_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four parts of five decisions each, an hour apart; the green offer is shown in all, the red in the third part."""
    folder = tmp_path_factory.mktemp("log")
    archive = WatchedArchive(folder)
    for i in range(20):
        at = BEGIN_MS + i // 5 * HOUR_MS + i * 1000
        slots = [slot(f"d{i}-0"), *([slot(f"d{i}-1", "red", 1)] if i // 5 == 2 else [])]
        archive.decides(decision(f"d{i}", at, *slots))
        archive.happens(EventType.IMPRESSION, f"d{i}-0", at + 10, decision_id=f"d{i}", shopper_key=f"shopper-of-d{i}")
    for hour in range(4):
        archive.write((hour + 1) * HOUR_MS)
    return folder


def names(found: Any) -> list[str]:
    return [row["decision_id"] for row in found.rows]


def test_without_a_question_it_is_the_newest_ones(log_dir: Path):
    found = Archive(log_dir).search(Wanted(), 3)
    assert names(found) == ["d19", "d18", "d17"]
    assert found.looked_to_ms == BEGIN_MS + 3 * HOUR_MS + 17_000
    again = Archive(log_dir).search(Wanted(until_ms=found.looked_to_ms), 50)
    assert names(again) == [f"d{i}" for i in range(17, -1, -1)]
    assert again.looked_to_ms is None


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(id="d7"), ["d7"]),
        (Wanted(id="d7-1"), ["d7"]),
        (Wanted(shopper="shopper-of-d3"), ["d3"]),
        (
            Wanted(offer="red", since_ms=BEGIN_MS + 2 * HOUR_MS, until_ms=BEGIN_MS + 3 * HOUR_MS),
            ["d14", "d13", "d12", "d11", "d10"],
        ),
        (Wanted(campaign="wine", offers_of_campaign=()), ["d14", "d13", "d12", "d11", "d10"]),
        (Wanted(campaign="nothing", offers_of_campaign=("card",), until_ms=BEGIN_MS), ["d0"]),
        (Wanted(id="' OR 1 = 1 --"), []),
        (Wanted(offer="nothing"), []),
    ],
)
def test_decisions_are_found_by_what_they_are(log_dir: Path, wanted: Wanted, expected: list[str]):
    assert names(Archive(log_dir).search(wanted, 50)) == expected


def test_a_search_whose_time_is_over_says_how_far_it_came(log_dir: Path):
    found = Archive(log_dir, seconds=0.0001).search(Wanted(id="nothing"), 50)
    assert found.rows == []
    assert found.looked_to_ms is not None


def test_a_part_that_cannot_be_read_is_named_and_the_rest_is_found(log_dir: Path, tmp_path: Path):
    for part in sorted(log_dir.rglob("part-*.parquet")):
        (there := tmp_path / part.relative_to(log_dir)).parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(part.read_bytes()[: 500 if "0000000003" in part.name else None])
    found = Archive(tmp_path).search(Wanted(), 50)
    assert len(found.rows) == 15
    (told,) = found.unreadable
    assert told.startswith("part-0000000003")
    assert str(tmp_path) not in told


def test_parts_come_hour_by_hour_and_only_those_of_a_time(log_dir: Path):
    def hours(since: int, until: int, newest_first: bool = False) -> list[int]:
        found = parts_by_hour(log_dir, DECISIONS, BEGIN_MS + since * HOUR_MS, BEGIN_MS + until * HOUR_MS, newest_first)
        return [part.number for hour in found for part in hour]

    assert (hours(0, 9), hours(0, 9, newest_first=True)) == ([1, 2, 3, 4], [4, 3, 2, 1])
    assert hours(1, 2) == [2]  # the third begins ten seconds after its hour


def test_a_decision_has_all_that_it_weighed_and_what_came_of_it(log_dir: Path):
    archive = Archive(log_dir)
    made, _ = archive.decision("d12", None)
    assert made is not None
    assert made["candidates"]["reason"] == [0, 0, 102]
    assert made["features"]["country"] == "DE"
    assert archive.decision("d12", made["time_ms"])[0] == made
    assert archive.decision("d12", made["time_ms"] + 1)[0] is None
    (event,) = archive.events("d12", made["time_ms"], made["time_ms"] + 1000, 10).rows
    assert (event["type"], event["impression_id"]) == ("impression", "d12-0")


def test_where_there_is_no_archive_it_says_so(tmp_path: Path):
    with pytest.raises(FileUnavailable, match="OFFERRANK_LOG_DIR"):
        Archive(None).search(Wanted(), 1)
    assert Archive(tmp_path).search(Wanted(), 1).rows == []


class Page:
    """The page on that archive; nobody listens at its Redis."""

    def __init__(self, tmp_path: Path, log_dir: Path, **settings: Any) -> None:
        (market := tmp_path / "market.toml").write_text(MARKET_TOML)
        self._app = create_app(DashboardSettings(market=market, log_dir=log_dir, redis_url="redis://127.0.0.1:1/0", **settings))

    def get(self, path: str, **headers: str) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self._app), base_url="http://127.0.0.1") as client:
                return await client.get(path, headers=headers)

        return asyncio.run(ask())


def test_who_may_not_see_shoppers_neither_reads_their_keys_nor_looks_for_one(log_dir: Path, tmp_path: Path):
    here = Page(tmp_path, log_dir)
    assert here.get("/api/archive/decisions?id=d3").json()["decisions"][0]["shopper_key"] == "shopper-of-d3"
    behind = Page(tmp_path, log_dir, user_header="X-Forwarded-User")
    ann = {"X-Forwarded-User": "ann"}
    found = behind.get("/api/archive/decisions?id=d3", **ann)
    told = behind.get("/api/archive/decisions/d3", **ann)
    assert (found.json()["sees_shoppers"], told.json()["decision"]["decision_id"]) == (False, "d3")
    for answer in (found, told):
        assert "shopper-of" not in answer.text
    assert behind.get("/api/archive/decisions?shopper=shopper-of-d3", **ann).status_code == 403
    for path in ("/api/archive/decisions", "/api/archive/decisions/d3", "/api/lineage/d3", "/decisions", "/decisions/d3"):
        assert behind.get(path).status_code == 403, path


@pytest.mark.parametrize(
    "asked", ["since=yesterday", "until=2026-13-01T00:00", "since=1795298400", "until=2026-11-26T14:05%2B02:00"]
)
def test_what_is_no_time_is_refused(log_dir: Path, tmp_path: Path, asked: str):
    answer = Page(tmp_path, log_dir).get(f"/api/archive/decisions?{asked}")
    assert answer.status_code == 400
    assert "a UTC time such as" in answer.json()["error"]


def test_a_part_of_before_is_shown_as_far_as_it_says_something(tmp_path: Path):
    rows = [
        {"decision_id": "old", "time_ms": BEGIN_MS, "slots": [{"impression_id": "old-0", "position": 0}], "shopper_key": None}
    ]
    there = part_path(tmp_path, DECISIONS, 1, BEGIN_MS, BEGIN_MS)
    there.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), there)
    page = Page(tmp_path, tmp_path)
    (found,) = page.get("/api/archive/decisions").json()["decisions"]
    assert (found["slots"], found["total_us"]) == ([{"offer_id": "", "campaign_id": ""}], None)
    told = page.get("/api/archive/decisions/old").json()
    assert (told["decision"]["candidates"], told["decision"]["slots"][0]["propensity"], told["events"]) == (None, None, [])
    # A question that such a part cannot answer leaves it out, and says so.
    assert page.get("/api/archive/decisions?offer=green").json()["unreadable"] != []


def test_times_are_utc(log_dir: Path, tmp_path: Path):
    answer = Page(tmp_path, log_dir).get("/api/archive/decisions?since=2024-10-04T00:00:03&until=2024-10-04T00:59")
    assert [one["decision_id"] for one in answer.json()["decisions"]] == ["d4", "d3"]


@pytest.mark.parametrize("what", ["--help", "../1", "/tmp", "..", ".", "x" * 65, "a b"])
def test_lineage_is_of_names_and_of_no_paths_and_options(tmp_path: Path, what: str):
    # Of "--help" the process says that there is no such decision: it comes after what ends the options.
    said = Lineage(tmp_path, tmp_path).of(what)
    assert set(said) == {"trouble"}
    assert "Usage" not in said["trouble"]


def test_lineage_that_takes_too_long_is_ended(tmp_path: Path):
    assert "not told within 0.01 s" in Lineage(tmp_path, tmp_path, seconds=0.01).of("d1")["trouble"]
    assert "OFFERRANK_RELEASES" in Lineage(None, tmp_path).of("d1")["trouble"]
