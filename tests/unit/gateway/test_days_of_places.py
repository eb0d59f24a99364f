"""Each campaign is sold on the day of its own place."""

from collections.abc import Callable
from typing import Any

import pytest

from domain.clock import budget_day
from domain.days import day_begins_ms
from features.market import Market


def elsewhere(market: Market, **zones: str) -> Market:
    moved = (c.model_copy(update={"time_zone": zones.get(c.id.partition("-")[0], "UTC")}) for c in market.campaigns)
    return market.selling(tuple(moved), market.offers)


def test_a_page_is_sold_on_the_days_of_its_winners_and_logged_on_that_of_the_market(
    market: Market, build_gateway: Callable[..., Any]
) -> None:
    gateway = build_gateway(elsewhere(market, gamma="Pacific/Kiritimati", alpha="Pacific/Pago_Pago"))
    gateway.now_ms = (
        day_begins_ms(20_833, "UTC") + 10 * 3_600_000
    )  # 10:00: already tomorrow in Kiritimati, yesterday in Pago Pago
    shown = gateway.decide()["placements"][0]["offers"]
    days = {o["campaign_id"]: gateway.tokens.read(o["token"]).day for o in shown}
    assert days == {"gamma-sales": 20_834, "alpha-spring": 20_832}
    assert gateway.logged[0].day == budget_day(gateway.now_ms, 86_400) == 20_833


@pytest.mark.parametrize(("day", "sold"), [("20833", True), ("20832", False)])
def test_a_frequency_cap_counts_the_impressions_of_the_campaigns_own_day(
    market: Market, build_gateway: Callable[..., Any], day: str, sold: bool
) -> None:
    capped = market.campaign_by_id["alpha-spring"].model_copy(update={"frequency_cap": 1})
    others = (capped if c.id == capped.id else c for c in market.campaigns)
    gateway = build_gateway(elsewhere(market.selling(tuple(others), market.offers), alpha="Pacific/Pago_Pago"))
    gateway.now_ms = day_begins_ms(20_833, "UTC") + 10 * 3_600_000
    gateway.shoppers.by_key["s"] = {f"cap:alpha-spring:{day}": 1}
    won = {o["campaign_id"] for o in gateway.decide(shopper={"key": "s"})["placements"][0]["offers"]}
    assert ("alpha-spring" in won) == sold
