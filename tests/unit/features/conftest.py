from typing import Any

import pytest


@pytest.fixture
def raw_market() -> dict[str, Any]:
    """The smallest useful market, as read from TOML; tests change one thing at a time."""
    return {
        "name": "corner-shop",
        "currency": "EUR",
        "placements": [{"name": "main", "count": 2}],
        "features": [
            {"name": "country", "source": "shopper", "default": "", "examples": ["DE"]},
            {"name": "amount", "source": "context", "dtype": "float", "default": 0.0},
            {"name": "clicks", "source": "history", "counter": "click"},
            {"name": "offer_id", "source": "offer", "default": ""},
            {"name": "category", "source": "offer", "default": "other"},
        ],
        "tasks": [{"name": "ctr", "label": "click"}, {"name": "cvr", "label": "conversion", "given": "click"}],
        "policy": {"id": "p1", "priors": {"ctr": 0.05, "cvr": 0.1}},
        "campaigns": [
            {"id": "c1", "advertiser": "a1", "bid_kind": "cpc", "bid_micros": 500_000, "targeting": {"country": ["DE"]}},
            {"id": "c2", "advertiser": "a2", "bid_kind": "cpa", "bid_micros": 9_000_000, "daily_budget_micros": 50_000_000},
        ],
        "offers": [
            {
                "id": "o1",
                "campaign": "c1",
                "title": "One",
                "landing_url": "https://one.example",
                "features": {"category": "food"},
            },
            {"id": "o2", "campaign": "c2", "title": "Two", "landing_url": "https://two.example"},
        ],
    }
