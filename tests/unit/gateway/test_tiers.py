"""Tiers and rivals from the catalogue to the page."""

from typing import Any

import pytest

from retrieval.catalogue import Catalogue

BOTH = [{"name": "main"}, {"name": "side"}]


def changed(market: Any, **by_campaign: dict[str, Any]) -> Any:
    campaigns = tuple(c.model_copy(update=by_campaign.get(c.id.replace("-", "_"), {})) for c in market.campaigns)
    return market.model_copy(update={"campaigns": campaigns})


def fates(gateway: Any) -> dict[str, str]:
    answer = gateway.decide(placements=BOTH, explain=True, shopper={"attributes": {"country": "DE"}})
    return {c["offer_id"]: c["reason"]["name"] for c in answer["explain"]["candidates"]}


def test_a_market_without_tiers_and_rivals_has_none(market: Any) -> None:
    catalogue = Catalogue.of(market)
    assert catalogue.group is catalogue.tier is None


def test_rivals_share_no_page(build_gateway: Any, market: Any) -> None:
    usual = fates(build_gateway(market))
    assert (usual["gamma-trip"], usual["beta-bank"]) == ("won", "won")
    rivals = fates(build_gateway(changed(market, gamma_sales={"competes_in": "money"}, beta_reach={"competes_in": "money"})))
    assert (rivals["gamma-trip"], rivals["beta-bank"], rivals["house-club"]) == ("won", "competitor", "won")


def test_an_advertiser_of_two_groups_joins_them(market: Any) -> None:
    groups = {"gamma_sales": {"competes_in": "a"}, "beta_reach": {"competes_in": "b"}}
    apart = Catalogue.of(changed(market, **groups))
    campaigns = [c.id for c in market.campaigns]
    alpha = [c.id for c in market.campaigns if c.advertiser == "alpha"]
    assert len(alpha) == 2
    joining = {alpha[0].replace("-", "_"): {"competes_in": "a"}, alpha[1].replace("-", "_"): {"competes_in": "b"}}
    joined = Catalogue.of(changed(market, **groups, **joining))

    def group_of(catalogue: Catalogue) -> dict[str, int]:
        assert catalogue.group is not None
        return {campaigns[c]: int(g) for c, g in zip(catalogue.campaign, catalogue.group, strict=True)}

    before, after = group_of(apart), group_of(joined)
    assert before["gamma-sales"] != before["beta-reach"]
    assert len({after[c] for c in ("gamma-sales", "beta-reach", *alpha)}) == 1
    assert len(set(before.values())) == len({c.advertiser for c in market.campaigns if c.id in before})


@pytest.mark.parametrize(("tier", "fate"), [("sponsorship", "won"), ("standard", "outbid")])
def test_a_higher_tier_goes_first(build_gateway: Any, market: Any, tier: str, fate: str) -> None:
    gateway = build_gateway(changed(market, house={"tier": type(market.campaigns[0].tier)(tier)}))
    assert fates(gateway)["house-club"] == fate


def test_a_bid_to_win_is_told_of_what_a_bid_can_win_alone(build_gateway: Any, market: Any) -> None:
    tier = type(market.campaigns[0].tier)
    gateway = build_gateway(changed(market, house={"tier": tier.HOUSE}, beta_reach={"tier": tier.SPONSORSHIP}))
    answer = gateway.decide(placements=[{"name": "main", "count": 1}], explain=True, shopper={"attributes": {"country": "DE"}})
    found = {c["offer_id"]: (c["reason"]["name"], c["bid_to_win_micros"]) for c in answer["explain"]["candidates"]}
    assert found["beta-bank"] == ("won", None)
    assert found["house-club"] == ("outranked", None)
