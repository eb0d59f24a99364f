"""Budget days where clocks are put on and back."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.days import CampaignDays, day_begins_ms, day_of, traffic_passed_of_day

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
