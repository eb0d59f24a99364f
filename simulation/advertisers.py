"""Markets of any size: more advertisers with campaigns and offers in the manner of a given one."""

import json
from typing import Any

import numpy as np

from features.market import parse_market


def enlarge(raw: dict[str, Any], name: str, n_offers: int, n_campaigns: int, seed: int) -> dict[str, Any]:
    """A market as parsed from TOML, with its features, tasks and policy, but new campaigns and offers.

    Each offer is modelled on one of the given market, with the category, price band and texts of that one; each campaign is
    of an advertiser of its own, bids within a quarter of the campaign it is modelled on, and has ten times its budget.

    Raises:
      InvalidMarket: the result is not a market, as when a feature would need what only the given offers have.
    """
    rng = np.random.default_rng(seed)
    made = {**raw, "name": name, "campaigns": [], "offers": []}
    models = [c for c in raw["campaigns"] if "daily_budget_micros" in c]
    of_campaign = {c["id"]: [o for o in raw["offers"] if o["campaign"] == c["id"]] for c in models}
    for i in range(n_campaigns):
        model = models[i % len(models)]
        made["campaigns"].append(
            {
                "id": f"campaign-{i}",
                "advertiser": f"advertiser-{i}",
                "bid_kind": model["bid_kind"],
                "bid_micros": round(model["bid_micros"] * float(rng.uniform(0.75, 1.25))),
                "daily_budget_micros": model["daily_budget_micros"] * 10,
            }
        )
    for i in range(n_offers):
        campaign = i % n_campaigns
        models_of = of_campaign[models[campaign % len(models)]["id"]]
        model = models_of[int(rng.integers(len(models_of)))]
        made["offers"].append(
            {
                **model,
                "id": f"offer-{i}",
                "campaign": f"campaign-{campaign}",
                "features": {**model["features"], "brand": f"advertiser-{campaign}"},
            }
        )
    made["features"] = [_hashed(f) if f["name"] == "brand" else f for f in raw["features"]]
    parse_market(made)
    return made


def _hashed(feature: dict[str, Any]) -> dict[str, Any]:
    """New brands are in no vocabulary."""
    return {k: v for k, v in feature.items() if k != "vocabulary"} | {"hash_buckets": 1024}


def to_toml(raw: dict[str, Any]) -> str:
    """A market as TOML; within the entries of a list, such as an offer, tables are written inline."""
    lines: list[str] = []
    _write(raw, "", lines)
    return "\n".join(lines) + "\n"


def _write(table: dict[str, Any], path: str, lines: list[str]) -> None:
    """Plain keys first, then tables, then lists of tables: what follows a header belongs to it."""
    tables = {k: v for k, v in table.items() if isinstance(v, dict)}
    lists = {k: v for k, v in table.items() if isinstance(v, list) and v and isinstance(v[0], dict)}
    lines += [f"{k} = {_value(v)}" for k, v in table.items() if k not in tables and k not in lists]
    for key, value in tables.items():
        lines += ["", f"[{path}{key}]"]
        _write(value, f"{path}{key}.", lines)
    for key, values in lists.items():
        for value in values:
            lines += ["", f"[[{path}{key}]]", *(f"{k} = {_value(v)}" for k, v in value.items())]


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    return json.dumps(value, ensure_ascii=False)  # strings, numbers and booleans are written alike
