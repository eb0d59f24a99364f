"""The least a market needs, as read from TOML; tests put their own features, tasks and networks over it."""

from typing import Any

from features.market import Market, parse_market

RAW: dict[str, Any] = {
    "name": "small",
    "currency": "EUR",
    "placements": [{"name": "main", "count": 1}],
    "features": [
        {"name": "city", "source": "context", "default": "unknown"},
        {"name": "brand", "source": "offer", "default": "none"},
    ],
    "tasks": [{"name": "ctr", "label": "click"}],
    "policy": {"id": "p", "priors": {"ctr": 0.1}},
    "campaigns": [{"id": "c", "advertiser": "a", "bid_kind": "cpc", "bid_micros": 1}],
    "offers": [{"id": "o", "campaign": "c", "title": "t", "landing_url": "https://example.com"}],
}


def market_of(features: list[dict[str, Any]], tasks: list[dict[str, Any]], slots: int, model: dict[str, Any]) -> Market:
    """The small market with other features and tasks, a page of so many slots, and a network."""
    return parse_market(
        RAW
        | {
            "placements": [{"name": "main", "count": slots}],
            "features": features,
            "tasks": tasks,
            "policy": {"id": "p", "priors": {t["name"]: 0.1 for t in tasks}},
            "model": model,
        }
    )
