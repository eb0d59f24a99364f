from typing import Any

import pytest

from features.market import Market, parse_market


def campaign(name: str, **changes: object) -> dict[str, Any]:
    return {"id": name, "advertiser": f"{name}-inc", "bid_kind": "cpc", "bid_micros": 100_000, **changes}


@pytest.fixture
def market() -> Market:
    """One campaign per rule, with an offer each; `open` has two, and nothing against it."""
    campaigns = [
        campaign("open", bid_kind="cpm", bid_micros=2_500_000),
        campaign("german", targeting={"country": ["DE", "AT"]}),
        campaign("rich", targeting={"country": ["DE"], "amount": [100, 200.0]}, advertiser="german-inc"),
        campaign("capped", frequency_cap=2),
        campaign("poor", daily_budget_micros=1_000_000, bid_kind="cpa"),
        campaign("summer", starts="2026-06-01T00:00:00Z", ends="2026-09-01T02:00:00+02:00"),
    ]
    offers = [{"id": f"{c['id']}-1", "campaign": c["id"]} for c in campaigns] + [{"id": "open-2", "campaign": "open"}]
    return parse_market(
        {
            "name": "rules",
            "currency": "EUR",
            "placements": [{"name": "main", "count": 2}],
            "features": [
                {"name": "country", "source": "shopper", "default": ""},
                {"name": "amount", "source": "context", "dtype": "float", "default": 0.0},
                {"name": "offer_id", "source": "offer", "default": ""},
            ],
            "tasks": [{"name": "ctr", "label": "click"}, {"name": "cvr", "label": "conversion", "given": "click"}],
            "policy": {"id": "p1", "priors": {"ctr": 0.05, "cvr": 0.1}},
            "campaigns": campaigns,
            "offers": [{**o, "title": str(o["id"]), "landing_url": "https://shop.example"} for o in offers],
        }
    )
