"""Budget days where clocks are put on and back."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.campaign import BidKind, Campaign
from domain.day_parts import hour_of_week, hours_of_week
from domain.days import CampaignDays, day_begins_ms, day_of, traffic_passed_in_hours, traffic_passed_of_day

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
ODD = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Kiritimati", "Pacific/Apia",
       "Pacific/Pago_Pago", "America/Sao_Paulo", "Asia/Beirut", "America/Havana", "Africa/Cairo", "America/St_Johns")  # fmt: skip


def number(text: str) -> int:
    return (date.fromisoformat(text) - date(1970, 1, 1)).days


def ms(text: str, zone: str = "UTC") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("day", "zone", "hours"),
    [
        ("2026-03-29", "Europe/Berlin", 23),
        ("2026-10-25", "Europe/Berlin", 25),
        ("2026-07-01", "Europe/Berlin", 24),
        ("2026-03-08", "America/New_York", 23),
        ("2026-11-01", "America/New_York", 25),
        ("2026-04-05", "Australia/Lord_Howe", 24.5),  # half an hour
        ("2026-03-29", "Asia/Beirut", 23),  # the hour that is skipped begins at midnight
        ("2011-12-30", "Pacific/Apia", 0),  # Samoa went over the date line
        ("2026-03-29", "UTC", 24),
    ],
)
def test_a_day_lasts_from_midnight_to_midnight_however_long_that_is(day: str, zone: str, hours: float) -> None:
    d = number(day)
    assert day_begins_ms(d + 1, zone) - day_begins_ms(d, zone) == hours * HOUR_MS
    if hours:
        assert [day_of(day_begins_ms(d + i, zone) - e, zone) for i, e in ((0, 0), (1, 1), (1, 0))] == [d, d, d + 1]


def test_midnight_is_that_of_the_place() -> None:
    d = number("2026-07-01")
    assert day_begins_ms(d, "America/New_York") == ms("2026-07-01T04:00")
    assert day_begins_ms(d, "Asia/Kathmandu") == ms("2026-06-30T18:15")
    # Where the first hour is skipped, the day begins with the second.
    assert day_begins_ms(number("2026-03-29"), "Asia/Beirut") == ms("2026-03-29T01:00", "Asia/Beirut") == ms("2026-03-28T22:00")


@given(at_ms=st.integers(0, 2**42), zone=st.sampled_from(ODD))
def test_every_moment_is_in_one_day_which_is_its_date(at_ms: int, zone: str) -> None:
    day = day_of(at_ms, zone)
    assert day_begins_ms(day, zone) <= at_ms < day_begins_ms(day + 1, zone)
    there = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo(zone))
    before = datetime.fromtimestamp(at_ms / 1000 - 7200, UTC).astimezone(ZoneInfo(zone))
    dates = {(t.date() - date(1970, 1, 1)).days for t in (there, before)}
    assert day in dates  # but for what clocks that are put back at midnight repeat of the day before


def test_days_of_utc_are_as_they_were_and_those_of_a_short_market_too() -> None:
    assert [day_of(at, "UTC", 300) for at in (299_999, 300_000)] == [0, 1]
    assert day_begins_ms(7, "UTC", 300) == 2_100_000
    assert day_of(2**62, "Europe/Berlin") == 2**62 // DAY_MS  # no date has such a number: whoever never ends, ends then


def test_the_traffic_of_a_day_is_that_of_the_market_from_midnight_to_midnight() -> None:
    shape = (0.0,) * 12 + (1.0,) * 12  # all in the second half of UTC's day
    d = number("2026-07-01")
    new_york = [traffic_passed_of_day(ms(f"2026-07-{t}"), d, "America/New_York", shape)
                for t in ("01T03", "01T12", "01T18", "02T00", "02T03", "02T09")]  # fmt: skip
    np.testing.assert_allclose(new_york, [0, 0, 0.5, 1, 1, 1])
    assert traffic_passed_of_day(ms("2026-07-01T18:00"), d, "UTC", shape) == 0.5
    short = number("2026-03-29")
    assert traffic_passed_of_day(ms("2026-03-29T11:30"), short, "Europe/Berlin", (1.0,)) == pytest.approx(12.5 / 23)
    night = (1.0,) + (0.0,) * 23  # none in what is left of a day that Berlin begins at 23:00
    assert 0 <= traffic_passed_of_day(ms("2026-03-29T11:30"), short, "Europe/Berlin", night) <= 1


def test_the_days_traffic_until_a_campaigns_end() -> None:
    # Days of 100 s, all traffic in the second half. Day 3 is 300 to 400 s.
    ends_s = [299, 300, 325, 375, 399, 400, 2**40]
    days = CampaignDays(["UTC"] * 7, 100)
    until = days.traffic_passed(np.array(ends_s) * 1000, np.full(7, 3), (0.0, 1.0))
    np.testing.assert_allclose(until, [0, 0, 0, 0.5, 0.98, 1, 1])


def test_campaigns_are_in_their_own_days_and_nothing_is_computed_between_midnights() -> None:
    days = CampaignDays(["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"], 86_400)
    d = number("2026-07-01")
    first = days.at(ms("2026-07-01T09:59"))
    assert first.tolist() == [d, d, d - 1]
    assert days.at(ms("2026-07-01T09:59:59.999")) is first
    assert days.at(ms("2026-07-01T10:00")).tolist() == [d, d + 1, d - 1]
    assert days.at(ms("2026-07-01T11:00")).tolist() == [d, d + 1, d]
    assert days.at(ms("2026-07-01T09:59")).tolist() == [d, d, d - 1]  # a clock that is set back
    assert days.of_each(np.array([first_ms := ms("2026-07-01T09:59"), first_ms, 2**62])).tolist() == [d, d, 2**62 // DAY_MS]


FLAT, PEAK = (1.0,), (1.0, 3.0, 1.0, 1.0)
"""Traffic of a day; the latter comes mostly from 6 to 12 UTC."""


@pytest.mark.parametrize(
    ("parts", "zone", "at", "passed"),
    [
        ("wed 18-24", "UTC", "17:59", 0.0),
        ("wed 18-24", "UTC", "21:00", 0.5),
        ("wed 06-12", "UTC", "12:00", 1.0),
        ("wed 06-12", "UTC", "20:00", 1.0),
        ("wed 00-04", "Asia/Kathmandu", "01:00", 0.25),
        ("tue 22-02", "UTC", "01:00", 0.5),  # the last two hours of the night before
        ("thu 06-12", "UTC", "12:00", 0.5),  # none of this day: as it comes
    ],
)
def test_traffic_of_a_campaign_that_rests_in_some_hours_is_that_of_the_others(
    parts: str, zone: str, at: str, passed: float
) -> None:
    day = number("2026-07-01")  # a Wednesday
    hours = hours_of_week([parts])
    assert traffic_passed_in_hours(ms(f"2026-07-01T{at}", zone), day, zone, FLAT, hours) == pytest.approx(passed)


def test_traffic_within_those_hours_comes_as_the_days_does() -> None:
    day, hours = number("2026-07-01"), hours_of_week(["wed 03-09"])
    # Three hours with 1/6 of 6 hours' traffic each, and three with a half.
    assert traffic_passed_in_hours(ms("2026-07-01T06:00"), day, "UTC", PEAK, hours) == pytest.approx(0.25)


@given(
    at_ms=st.integers(2**40, 2**41),
    later_ms=st.integers(0, DAY_MS),
    zone=st.sampled_from(ODD),
    hours=st.frozensets(st.integers(0, 167), min_size=1),
)
def test_it_grows_from_nothing_to_all_and_only_while_the_campaign_is_shown(
    at_ms: int, later_ms: int, zone: str, hours: frozenset[int]
) -> None:
    day = day_of(at_ms, zone)
    begin_ms, end_ms = day_begins_ms(day, zone), day_begins_ms(day + 1, zone)

    def passed(when_ms: int) -> float:
        return traffic_passed_in_hours(when_ms, day, zone, PEAK, hours)

    assert (passed(begin_ms), passed(end_ms)) == (0.0, pytest.approx(1.0))
    assert passed(at_ms) <= passed(at_ms + later_ms) + 1e-12
    half_hour_ms = begin_ms + (at_ms - begin_ms) // 1_800_000 * 1_800_000
    shown = {hour_of_week(ms, zone) for ms in range(begin_ms, end_ms, 1_800_000)} & hours
    if shown and hour_of_week(half_hour_ms, zone) not in hours:
        assert passed(min(half_hour_ms + 1_800_000, end_ms)) == pytest.approx(passed(half_hour_ms))


def test_campaigns_have_the_traffic_of_their_own_hours() -> None:
    def campaign(**how: object) -> Campaign:
        return Campaign(id="a", advertiser="a", bid_kind=BidKind.CPC, bid_micros=1, **how)  # type: ignore[arg-type]

    campaigns = [campaign(), campaign(day_parts=("wed 18-24",)), campaign(day_parts=("wed 06-12",), time_zone="Asia/Tokyo")]
    at_ms = ms("2026-07-01T12:00")
    of_dates = CampaignDays.of(campaigns, 86_400)
    assert of_dates.traffic_passed(at_ms, of_dates.at(at_ms), FLAT).tolist() == [0.5, 0.0, 1.0]
    # A shorter day of a simulated market has no hours of the week.
    simulated = CampaignDays.of(campaigns[:2], 43_200)
    assert simulated.traffic_passed(at_ms - 1, simulated.at(at_ms - 1), FLAT).tolist() == pytest.approx([1.0, 1.0])
