from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_market import RAW

from features.market import Market, parse_market

MARKET: dict[str, Any] = RAW | {
    "features": [
        {"name": "city", "source": "context", "default": "unknown"},
        {"name": "age", "source": "shopper", "dtype": "int", "default": 0, "column": "Age"},
        {"name": "brand", "source": "offer", "default": "none"},
    ],
    "tasks": [
        {"name": "ctr", "label": "click", "column": "Y"},
        {"name": "cvr", "label": "conversion", "given": "click"},
    ],
    "policy": {"id": "p", "priors": {"ctr": 0.1, "cvr": 0.1}},
    "training": {"min_rows": 20},
}

MakeMarket = Callable[..., Market]


@pytest.fixture
def make_market() -> MakeMarket:
    """A market with other keys under `training`."""
    return lambda **training: parse_market(MARKET | {"training": MARKET["training"] | training})


@pytest.fixture
def columns() -> dict[str, list[Any]]:
    """200 good rows: every fourth is a click, every second click converts."""
    n = np.arange(200)
    click = (n % 4 == 0).astype(int)
    return {
        "city": [("Bonn", "Ulm")[i % 2] for i in n],
        "Age": (n % 50).tolist(),
        "brand": [f"b{i % 7}" for i in n],
        "Y": click.tolist(),
        "conversion": (click * (n % 8 == 0)).tolist(),
        "shopper": [f"s{i // 10}" for i in n],
        "time_ms": (1000 * n).tolist(),
    }


def write_csv(path: Path, columns: dict[str, list[Any]]) -> Path:
    lines = [",".join(columns)] + [
        ",".join("" if v is None else str(v) for v in row) for row in zip(*columns.values(), strict=True)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


MARKET_TOML = """
name = "small"
currency = "EUR"
placements = [{ name = "main", count = 1 }]
features = [
  { name = "city", source = "context", default = "unknown" },
  { name = "age", source = "shopper", dtype = "int", default = 0, column = "Age" },
  { name = "brand", source = "offer", default = "none" },
]
tasks = [{ name = "ctr", label = "click", column = "Y" }]
policy = { id = "p", priors = { ctr = 0.1 } }
training = { min_rows = 20 }
campaigns = [{ id = "c", advertiser = "a", bid_kind = "cpc", bid_micros = 1 }]
offers = [{ id = "o", campaign = "c", title = "t", landing_url = "https://example.com" }]
"""
