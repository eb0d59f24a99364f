"""Bids of all kinds made comparable: what an impression is expected to earn."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.campaign import IMPRESSIONS_PER_CPM, BidKind
from domain.errors import ContractError
from domain.money import pace_bid_micros

CPM, CPA = BidKind.CPM.code, BidKind.CPA.code


@dataclass(frozen=True, slots=True)
class Bids:
    """N bidders of one auction.

    advertiser [N] int codes; quality [N] = P(billed event | impression), in (0, 1]; bid_micros [N] int64, most paid per
    billed event after pacing; ecpm_micros [N] = 1000 quality bid_micros, at the first position; by_view [N], paid per impression,
    and so worth the same at every position.
    group [N] int codes: bidders of one group never share a page; None where groups are the advertisers. tier [N], the lowest goes
    first; None where all are of one.
    """

    advertiser: NDArray[np.int32]
    quality: NDArray[np.float64]
    bid_micros: NDArray[np.int64]
    ecpm_micros: NDArray[np.float64]
    by_view: NDArray[np.bool_]
    group: NDArray[np.int32] | None = None
    tier: NDArray[np.uint8] | None = None

    @property
    def apart(self) -> NDArray[np.int32]:
        """[N] codes; equal codes never share a page."""
        return self.advertiser if self.group is None else self.group

    def __len__(self) -> int:
        return len(self.advertiser)


def effective_bids(
    advertiser: NDArray[np.int32],
    bid_kind: NDArray[np.uint8],
    bid_micros: NDArray[np.int64],
    pctr: NDArray[np.float64],
    pcvr: NDArray[np.float64] | None,
    pacing_multiplier: NDArray[np.float64],
    group: NDArray[np.int32] | None = None,
    tier: NDArray[np.uint8] | None = None,
) -> Bids:
    """Paced bids per billed event, and the eCPM they rank by.

               quality         bid per billed event
        cpm    1               floor(bid_micros / 1000), as a cpm bid buys a thousand impressions
        cpc    pctr            bid_micros
        cpa    pctr pcvr       bid_micros

        paced bid = floor(bid per billed event * pacing_multiplier);  ecpm = 1000 quality (paced bid)

    That is at the first position; `auction.examination` has what is left of it further down.

    Bids round down to whole micros before they rank, so that what ranks an offer is exactly what it can be charged.

    Args:
      advertiser: [N] codes; equal codes never share a page.
      bid_kind: [N] `BidKind.code`.
      bid_micros: [N], as in the campaign.
      pctr: [N], calibrated P(click | impression), in (0, 1].
      pcvr: [N], calibrated P(conversion | click), in (0, 1]; None where the market predicts no conversions.
      pacing_multiplier: [N], in [0, 1].
      group, tier: [N], as in `Bids`; those of one advertiser are of one group.
    Raises:
      ContractError: shapes differ, a bid kind is unknown, a cpa bid has no pcvr, or a number leaves its range.
    """
    n = len(advertiser)
    _require(n, "pctr in (0, 1]", pctr, (pctr > 0.0) & (pctr <= 1.0))
    _require(n, "pacing_multiplier in [0, 1]", pacing_multiplier, (pacing_multiplier >= 0.0) & (pacing_multiplier <= 1.0))
    _require(n, "a known bid_kind", bid_kind, bid_kind <= CPA)
    _require(n, "bid_micros >= 0", bid_micros, bid_micros >= 0)
    by_kind = [np.ones(n), pctr, pctr]
    if pcvr is not None:
        _require(n, "pcvr in (0, 1]", pcvr, (pcvr > 0.0) & (pcvr <= 1.0))
        by_kind[CPA] = pctr * pcvr
    elif (bid_kind == CPA).any():
        raise ContractError("bids: a cpa bid needs pcvr, and the market predicts none")
    quality = np.choose(bid_kind, by_kind)
    by_view = bid_kind == CPM
    per_event = np.where(by_view, bid_micros // IMPRESSIONS_PER_CPM, bid_micros)
    paced = pace_bid_micros(per_event, pacing_multiplier)
    return Bids(advertiser, quality, paced, 1000.0 * quality * paced, by_view, group, tier)


def _require(n: int, what: str, values: NDArray[Any], holds: NDArray[np.bool_]) -> None:
    if values.shape != (n,):
        raise ContractError(f"bids: expected {what} for {n} bidders, got shape {values.shape}")
    # NaN holds nowhere, so it is refused as well.
    if not holds.all():
        i = int(np.argmin(holds))
        raise ContractError(f"bids: expected {what}, got {values[i]} for bidder {i}")
