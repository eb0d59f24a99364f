"""What must not be on a page is not on it, whoever says so; and every loser says why."""

from typing import Any

import pytest

BOTH = [{"name": "main"}, {"name": "side"}]
CATEGORIES = {"alpha-spring": ("shoes", "fashion"), "gamma-sales": ("travel",)}


@pytest.fixture
def sorted_market(market: Any) -> Any:
    campaigns = tuple(c.model_copy(update={"categories": CATEGORIES.get(c.id, ())}) for c in market.campaigns)
    return market.model_copy(update={"campaigns": campaigns})


def fates(gateway: Any, **request: Any) -> dict[str, str]:
    answer = gateway.decide(placements=BOTH, explain=True, shopper={"attributes": {"country": "DE"}}, **request)
    return {c["offer_id"]: c["reason"]["name"] for c in answer["explain"]["candidates"]}


def blocked(gateway: Any, **request: Any) -> dict[str, str]:
    return {o: why for o, why in fates(gateway, **request).items() if why in ("blocked", "category_exclusion")}


@pytest.mark.parametrize(
    ("names", "out"),
    [
        ({}, {}),
        ({"advertisers": ["alpha"]}, {"alpha-shoes": "blocked", "alpha-hats": "blocked"}),
        ({"offers": ["alpha-shoes", "no-such"]}, {"alpha-shoes": "blocked"}),
        ({"categories": ["travel"]}, {"gamma-trip": "category_exclusion"}),
        ({"categories": ["fashion"], "advertisers": ["alpha"]}, {"alpha-shoes": "blocked", "alpha-hats": "blocked"}),
        ({"categories": ["nothing"], "advertisers": ["nobody"], "offers": [""]}, None),
        ({"categories": None, "offers": []}, {}),
    ],
)
def test_a_request_blocks_advertisers_categories_and_offers(build_gateway: Any, sorted_market: Any, names: Any, out: Any) -> None:
    gateway = build_gateway(sorted_market)
    if out is None:
        refused = gateway.call("POST", "/v1/decisions", json={"placements": BOTH, "blocked": names})
        assert (refused.status_code, refused.json()["error"]["field"]) == (422, "blocked.offers[0]")
    else:
        assert blocked(gateway, blocked=names) == out


def test_another_offer_of_the_advertiser_takes_the_place_of_one_that_is_blocked(gateway: Any) -> None:
    before, after = fates(gateway), fates(gateway, blocked={"offers": ["alpha-shoes"]})
    assert (before["alpha-shoes"], before["alpha-hats"]) == ("won", "advertiser_exclusion")
    assert (after["alpha-shoes"], after["alpha-hats"]) == ("blocked", "won")


def test_the_market_blocks_everywhere(build_gateway: Any, sorted_market: Any) -> None:
    gateway = build_gateway(sorted_market.model_copy(update={"blocked_categories": ("shoes",), "blocked_advertisers": ("beta",)}))
    kept_out = {"alpha-shoes": "category_exclusion", "beta-bank": "blocked"}
    assert blocked(gateway) == kept_out
    assert blocked(gateway, blocked={"offers": ["gamma-trip"]}) == kept_out | {"gamma-trip": "blocked"}


def test_what_a_placement_blocks_is_on_no_page_with_it(build_gateway: Any, sorted_market: Any) -> None:
    main, *others = sorted_market.placements
    side = next(p for p in others if p.name == "side").model_copy(update={"blocked_categories": ("travel",)})
    gateway = build_gateway(sorted_market.model_copy(update={"placements": (main, side)}))
    assert blocked(gateway) == {"gamma-trip": "category_exclusion"}
    alone = gateway.decide(placements=[{"name": "main"}])
    assert "gamma-trip" in [o["offer_id"] for o in alone["placements"][0]["offers"]]


def test_a_page_may_block_all(gateway: Any) -> None:
    advertisers = list(dict.fromkeys(c.advertiser for c in gateway.view.market.campaigns))
    answer = gateway.decide(placements=BOTH, blocked={"advertisers": advertisers})
    assert [(p["offers"], p["reason"]["name"]) for p in answer["placements"]] == [([], "blocked")] * 2


@pytest.mark.parametrize(
    ("names", "field"),
    [
        ({"advertisers": "alpha"}, "blocked.advertisers"),
        ({"offers": [3]}, "blocked.offers[0]"),
        ({"categories": ["x" * 65]}, "blocked.categories[0]"),
        ({"offers": ["x"] * 201}, "blocked.offers"),
        ({"brands": []}, "blocked.brands"),
    ],
)
def test_other_lists_are_refused(gateway: Any, names: Any, field: str) -> None:
    refused = gateway.call("POST", "/v1/decisions", json={"placements": BOTH, "blocked": names})
    assert (refused.status_code, refused.json()["error"]["field"]) == (422, field)
