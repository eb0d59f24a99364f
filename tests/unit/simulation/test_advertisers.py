"""Larger markets are markets, and TOML written is TOML read."""

import tomllib
from pathlib import Path

import pyarrow.parquet as pq

from features.market import load_market
from pipelines.ingest import ingest
from simulation.advertisers import enlarge, to_toml
from simulation.offline import random_pages

MARKET = Path(__file__).parents[3] / "examples" / "confirmation" / "market.toml"


def test_a_market_survives_being_written() -> None:
    raw = tomllib.loads(MARKET.read_text(encoding="utf-8"))
    assert tomllib.loads(to_toml(raw)) == raw


def test_a_larger_market_has_what_was_asked_for_and_can_be_loaded(tmp_path: Path) -> None:
    raw = enlarge(tomllib.loads(MARKET.read_text(encoding="utf-8")), "large", n_offers=300, n_campaigns=20, seed=1)
    path = tmp_path / "market.toml"
    path.write_text(to_toml(raw), encoding="utf-8")
    market = load_market(path)
    assert (market.name, len(market.offers), len(market.campaigns)) == ("large", 300, 20)
    assert len({c.advertiser for c in market.campaigns}) == 20
    assert all(sum(o.campaign == c.id for o in market.offers) == 15 for c in market.campaigns)


def test_the_seed_fixes_a_larger_market() -> None:
    raw = tomllib.loads(MARKET.read_text(encoding="utf-8"))
    assert enlarge(raw, "large", 50, 5, seed=1) == enlarge(raw, "large", 50, 5, seed=1)
    assert enlarge(raw, "large", 50, 5, seed=1) != enlarge(raw, "large", 50, 5, seed=2)


def test_random_pages_are_training_rows_with_the_base_rates() -> None:
    market = load_market(MARKET)
    rows = random_pages(market, seed=7, n_pages=700)
    assert rows.num_rows == 2100
    assert rows.column_names == [*(f.name for f in market.features), "position", "click", "conversion"]
    assert rows["position"].to_pylist() == [0, 1, 2] * 700
    clicks, conversions = rows["click"].to_pylist(), rows["conversion"].to_pylist()
    # A CTR of 12 % at full examination, looked at 1, 0.75 and 0.5625 of the time: 9.25 %, standard deviation 0.6 %.
    assert 0.065 < sum(clicks) / len(clicks) < 0.12
    assert all(click or not conversion for click, conversion in zip(clicks, conversions, strict=True))
    assert 0.1 < sum(conversions) / sum(clicks) < 0.45


def test_random_pages_are_what_training_reads(tmp_path: Path) -> None:
    market = load_market(MARKET)
    pq.write_table(random_pages(market, seed=7, n_pages=700), tmp_path / "rows.parquet")
    assert sum(ingest(market, tmp_path / "rows.parquet", tmp_path / "rows").rows.values()) == 2100
