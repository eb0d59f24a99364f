import numpy as np

from features.market import Market
from retrieval.catalogue import UNLIMITED, Catalogue


def test_offers_look_up_what_their_campaign_says(market: Market) -> None:
    catalogue = Catalogue.of(market)
    assert len(catalogue) == 7
    assert catalogue.offer_ids[-1] == "open-2"
    assert catalogue.position_of["open-2"] == 6
    assert catalogue.campaign.tolist() == [0, 1, 2, 3, 4, 5, 0]
    assert [catalogue.advertiser_ids[a] for a in catalogue.advertiser][1:3] == ["german-inc", "german-inc"]
    assert catalogue.bid_kind.tolist() == [0, 1, 1, 1, 2, 1, 0]
    assert catalogue.bid_micros.tolist() == [2_500_000, *[100_000] * 5, 2_500_000]


def test_campaigns_without_a_limit_are_unlimited(market: Market) -> None:
    catalogue = Catalogue.of(market)
    assert catalogue.budget_micros.tolist() == [UNLIMITED] * 4 + [1_000_000, UNLIMITED]
    assert catalogue.frequency_cap.tolist() == [UNLIMITED] * 3 + [2] + [UNLIMITED] * 2


def test_times_without_an_offset_are_utc(market: Market) -> None:
    raw = market.model_dump(mode="json")
    raw["campaigns"][5]["starts"] = "2026-06-01T00:00:00"
    again = Catalogue.of(Market.model_validate(raw))
    np.testing.assert_array_equal(again.starts_ms, Catalogue.of(market).starts_ms)
    assert again.ends_ms[5] - again.starts_ms[5] == 92 * 86_400_000  # June, July, August
