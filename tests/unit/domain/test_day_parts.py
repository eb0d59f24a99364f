"""Which days of a flight have any of the hours in which a campaign is shown."""

from domain.day_parts import days_with, hours_of_week


def test_days_off_do_not_count() -> None:
    workdays, monday = hours_of_week(["mon-fri 08-18"]), 20_787  # 2026-11-30
    assert days_with(workdays, monday, monday + 6) == 5
    assert days_with(workdays, monday + 4, monday + 7) == 2
    assert days_with(workdays, monday + 5, monday + 6) == 0
    assert days_with(workdays, monday, monday + 29) == 22
    assert days_with(workdays, monday, monday - 1) == 0
