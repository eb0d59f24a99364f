"""The benchmark of the decision log runs, and shows what it is there to show."""

from pathlib import Path

from benchmarks.log_entry import WAYS, measure
from features.market import load_market

MARKET = load_market(Path(__file__).resolve().parents[3] / "examples" / "confirmation" / "market.toml")


def test_each_way_to_log_is_smaller_than_the_one_before() -> None:
    sizes = [measure(MARKET, share, encode, 5)[0] for _, share, encode in WAYS if share is not None]
    whole, whole_deflated, few, few_deflated = sizes
    assert few_deflated < min(few, whole_deflated)
    assert max(few, whole_deflated) < whole
