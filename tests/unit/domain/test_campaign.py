"""What a campaign may say of itself."""

from typing import Any

import pytest
from pydantic import ValidationError

from domain.campaign import Campaign

PLAIN = {"id": "c", "advertiser": "a", "bid_kind": "cpc", "bid_micros": 5}


def campaign(**changes: Any) -> Campaign:
    return Campaign.model_validate(PLAIN | changes)


def refused(**changes: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        campaign(**changes)
    return str(caught.value)


def test_clocks_are_those_of_utc_unless_a_campaign_says_otherwise() -> None:
    assert campaign().time_zone == "UTC"
    assert campaign(time_zone="America/St_Johns").time_zone == "America/St_Johns"


@pytest.mark.parametrize("name", ["Europe/Berln", "", "Europe", "../../etc/passwd", "a\0b", "x" * 300])
def test_a_time_zone_that_there_is_not_is_refused(name: str) -> None:
    assert "expected a time zone such as Europe/Berlin" in refused(time_zone=name)


@pytest.mark.parametrize(
    "part", ["", "mon", "8-18", "mon 8-8", "mon 18-25", "mon 24-02", "Mon 8-18", "mon 8-18 ", "mon- 8-9", "mon8-9", 3]
)
def test_hours_that_there_are_not_are_refused(part: Any) -> None:
    assert "day_parts" in refused(day_parts=[part])
    if isinstance(part, str):
        assert f"expected days and hours, such as 'mon-fri 08-18' or 'sat,sun 22-04', got {part!r}" in refused(day_parts=[part])
