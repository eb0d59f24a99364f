"""Hours of the week, by the clocks of a place."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from domain.campaign import Campaign
from domain.day_parts import hours_of_week
from retrieval.day_parts import DayParts

BERLIN = ZoneInfo("Europe/Berlin")


def campaign(*parts: str, zone: str = "UTC") -> Campaign:
    return Campaign(id="c", advertiser="a", bid_kind="cpc", bid_micros=5, day_parts=parts, time_zone=zone)


def closed(at: datetime, *campaigns: Campaign) -> list[bool]:
    parts = DayParts.of(campaigns)
    assert parts is not None
    return parts.closed(int(at.timestamp() * 1000)).tolist()


@pytest.mark.parametrize(
    ("part", "hours"),
    [
        ("mon 0-24", range(24)),
        ("mon 08-10", (8, 9)),
        ("mon,wed 8-9", (8, 56)),
        ("tue-thu 0-1", (24, 48, 72)),
        ("sat-mon 12-13", (132, 156, 12)),
        ("mon 22-02", (22, 23, 24, 25)),
        ("sun 23-1", (167, 0)),  # into the next week
        ("mon-sun 0-24", range(168)),
    ],
)
def test_what_is_written_means(part: str, hours: range) -> None:
    assert hours_of_week([part]) == frozenset(hours)


def test_nobody_has_hours_unless_somebody_says_so() -> None:
    assert DayParts.of([campaign(), campaign(zone="Europe/Berlin")]) is None


def test_each_campaign_has_its_own_clocks() -> None:
    everywhere = (
        campaign("mon 08-09"),
        campaign("mon 08-09", zone="Asia/Kathmandu"),
        campaign(),
        campaign("mon 8-9", zone="Asia/Tokyo"),
    )
    monday = datetime(2026, 6, 1, tzinfo=UTC)
    assert closed(monday + timedelta(hours=8), *everywhere) == [False, True, False, True]
    assert closed(monday + timedelta(hours=2, minutes=15), *everywhere) == [True, False, False, True]  # 08:00 by +05:45
    assert closed(monday + timedelta(hours=2, minutes=14), *everywhere) == [True, True, False, True]
    assert closed(monday - timedelta(minutes=1), *everywhere) == [True, True, False, False]  # 08:59 by +09:00


@pytest.mark.parametrize(
    ("first", "hours"),
    [
        (datetime(2026, 3, 29, tzinfo=BERLIN), {"sun 01-02": 1, "sun 02-03": 0, "sun 03-04": 1, "sun 0-24": 23}),
        (datetime(2026, 10, 25, tzinfo=BERLIN), {"sun 01-02": 1, "sun 02-03": 2, "sun 03-04": 1, "sun 0-24": 25}),
    ],
    ids=["put on", "put back"],
)
def test_where_clocks_change_an_hour_is_skipped_or_comes_twice(first: datetime, hours: dict[str, int]) -> None:
    begin = first.astimezone(UTC) - timedelta(hours=5)
    times = [begin + timedelta(minutes=15 * q) for q in range(4 * 36)]
    campaigns = [campaign(part, zone="Europe/Berlin") for part in hours]
    shown = [[not shut for shut in closed(at, *campaigns)] for at in times]
    assert dict(zip(hours, (sum(column) / 4 for column in zip(*shown, strict=True)), strict=True)) == hours


def test_what_is_kept_is_of_its_quarter_alone() -> None:
    parts = DayParts.of([campaign("mon 08-09")])
    assert parts is not None
    monday = datetime(2026, 6, 1, tzinfo=UTC)
    for minute in (*range(470, 550), 480, 479):
        at = monday + timedelta(minutes=minute, seconds=59)
        assert parts.closed(int(at.timestamp() * 1000)).tolist() == [not 480 <= minute < 540]
