import numpy as np
import pytest

from auction.bids import Bids, effective_bids
from domain.campaign import BidKind
from domain.errors import ContractError


def bids_of(kind: BidKind, bid_micros: int, pctr: float = 0.05, pcvr: float | None = 0.1, multiplier: float = 1.0) -> Bids:
    return effective_bids(
        np.zeros(1, np.int32),
        np.array([kind.code], np.uint8),
        np.array([bid_micros]),
        np.array([pctr]),
        None if pcvr is None else np.array([pcvr]),
        np.array([multiplier]),
    )


@pytest.mark.parametrize(
    ("kind", "bid_micros", "quality", "per_event", "ecpm"),
    [
        # 2.50 per thousand impressions is 0.0025 per impression; every impression is billed; 1000 of them earn 2.50.
        (BidKind.CPM, 2_500_000, 1.0, 2_500, 2_500_000),
        # 0.40 per click at 5 % of 1000 impressions: 50 clicks, 20.00.
        (BidKind.CPC, 400_000, 0.05, 400_000, 20_000_000),
        # 8.00 per conversion at 5 % x 10 % of 1000 impressions: 5 conversions, 40.00.
        (BidKind.CPA, 8_000_000, 0.005, 8_000_000, 40_000_000),
    ],
)
def test_a_thousand_impressions_earn_the_expected_events_times_the_bid(
    kind: BidKind, bid_micros: int, quality: float, per_event: int, ecpm: float
) -> None:
    bids = bids_of(kind, bid_micros)
    assert bids.quality[0] == pytest.approx(quality)
    assert bids.bid_micros.tolist() == [per_event]
    assert bids.ecpm_micros[0] == pytest.approx(ecpm)


def test_a_cpm_bid_rounds_down_to_whole_micros_per_impression() -> None:
    # 2.500999 per thousand is 2500.999 micros per impression, of which 2500 can be charged and hence count.
    assert bids_of(BidKind.CPM, 2_500_999).ecpm_micros.tolist() == [2_500_000.0]
    assert bids_of(BidKind.CPM, 999).bid_micros.tolist() == [0]


def test_pacing_lowers_the_bid_and_rounds_down() -> None:
    bids = bids_of(BidKind.CPC, 333_333, multiplier=0.5)
    assert bids.bid_micros.tolist() == [166_666]  # 166,666.5
    assert bids.ecpm_micros[0] == pytest.approx(1000 * 0.05 * 166_666)


def test_a_market_without_conversions_takes_cpm_and_cpc() -> None:
    assert bids_of(BidKind.CPC, 400_000, pcvr=None).quality.tolist() == [0.05]
    with pytest.raises(ContractError, match="a cpa bid needs pcvr"):
        bids_of(BidKind.CPA, 400_000, pcvr=None)


def test_the_bids_of_no_candidates_are_empty() -> None:
    none = np.zeros(0)
    assert len(effective_bids(none.astype(np.int32), none.astype(np.uint8), none.astype(np.int64), none, none, none)) == 0


@pytest.mark.parametrize("pctr", [0.0, -0.1, 1.1, float("nan"), float("inf")])
def test_a_rate_that_is_no_probability_is_refused(pctr: float) -> None:
    with pytest.raises(ContractError, match=r"pctr in \(0, 1\], got .* for bidder 0"):
        bids_of(BidKind.CPC, 1, pctr=pctr)
    with pytest.raises(ContractError, match=r"pcvr in \(0, 1\]"):
        bids_of(BidKind.CPC, 1, pcvr=pctr)


@pytest.mark.parametrize("multiplier", [-0.1, 1.1, float("nan")])
def test_a_multiplier_outside_its_range_is_refused(multiplier: float) -> None:
    with pytest.raises(ContractError, match=r"pacing_multiplier in \[0, 1\]"):
        bids_of(BidKind.CPC, 1, multiplier=multiplier)


def test_arrays_of_different_lengths_are_refused() -> None:
    one, two = np.ones(1), np.ones(2)
    with pytest.raises(ContractError, match=r"bid_kind for 2 bidders, got shape \(1,\)"):
        effective_bids(two.astype(np.int32), one.astype(np.uint8), two.astype(np.int64), two, two, two)


def test_codes_of_bid_kinds_never_change() -> None:
    assert [(k.value, k.code) for k in BidKind] == [("cpm", 0), ("cpc", 1), ("cpa", 2)]
