import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.candidates import Source
from domain.luck import Luck
from domain.outcome import Reason
from features.market import Market
from retrieval.blend import SHARES, blend
from retrieval.catalogue import Catalogue
from retrieval.index import OfferIndex, build_index
from retrieval.retriever import Retriever
from retrieval.sources.ann import AnnSource
from retrieval.sources.new import draw, new_offers
from retrieval.sources.popular import popular_order

AXES = np.eye(8, dtype=np.float32)


def axis_index(*ids: str) -> OfferIndex:
    """Offers along the axes, so that the query names who is near."""
    return build_index(list(ids), AXES[: len(ids)])


def toward(*order: int) -> np.ndarray:
    """A query that is nearest to the given axes, in that order."""
    query = np.zeros(8, np.float32)
    query[list(order)] = np.linspace(1.0, 0.5, len(order))
    return query / np.linalg.norm(query)


def test_nearest_offers_come_as_catalogue_positions(market: Market) -> None:
    source = AnnSource.of(axis_index("open-2", "capped-1", "open-1", *"abcde"), Catalogue.of(market))
    assert source.nearest(toward(1, 0, 2), 3).tolist() == [3, 6, 0]


def test_offers_that_left_the_market_give_their_place_to_the_next(market: Market) -> None:
    source = AnnSource.of(axis_index("gone-1", "capped-1", "open-1", *"abcde"), Catalogue.of(market))
    assert source.nearest(toward(0, 1, 2), 2).tolist() == [3, 0]


def test_every_advertisers_best_comes_before_anybodys_second() -> None:
    value = np.array([9.0, 8.0, 7.0, 1.0, 5.0, 6.0])
    advertiser = np.array([0, 0, 0, 1, 2, 2], np.int32)
    assert popular_order(value, advertiser).tolist() == [0, 5, 3, 1, 4, 2]


def test_equal_values_go_to_the_lower_position() -> None:
    assert popular_order(np.ones(4), np.array([1, 0, 1, 0], np.int32)).tolist() == [0, 1, 2, 3]
    assert popular_order(np.zeros(0), np.zeros(0, np.int32)).tolist() == []


def test_offers_missing_from_the_index_are_new(market: Market) -> None:
    catalogue = Catalogue.of(market)
    assert new_offers(len(catalogue), np.array([0, 4, -1], dtype=np.int32)).tolist() == [1, 2, 3, 5, 6]
    assert new_offers(len(catalogue), np.empty(0, dtype=np.int32)).tolist() == list(range(7))
    assert new_offers(len(catalogue), np.arange(7, dtype=np.int32)).tolist() == []


def test_new_offers_are_drawn_alike() -> None:
    rng = np.random.default_rng(0)
    offers = np.arange(10, dtype=np.int32)
    drawn = np.bincount(np.concatenate([draw(offers, 3, rng) for _ in range(2000)]), minlength=10)
    # 600 expected each; 5 standard deviations of a binomial(2000, 0.3) are 102.
    assert np.abs(drawn - 600).max() < 102
    assert sorted(draw(offers, 99, rng).tolist()) == list(range(10))


def positions(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def test_sources_get_their_shares() -> None:
    found = {
        Source.ANN: positions(*range(100, 150)),
        Source.POPULAR: positions(*range(50)),
        Source.NEW: positions(*range(200, 250)),
    }
    pool = blend(found, 40)
    assert np.bincount(pool.source).tolist() == [24, 10, 6]
    assert sorted(pool.offer.tolist()) == [*range(10), *range(100, 124), *range(200, 206)]  # the best of each


def test_what_a_source_cannot_fill_goes_to_the_others_in_proportion() -> None:
    found = {Source.POPULAR: positions(*range(50)), Source.NEW: positions(*range(200, 250))}
    assert np.bincount(blend(found, 40).source).tolist() == [0, 25, 15]
    found[Source.NEW] = positions(200)
    assert np.bincount(blend(found, 40).source).tolist() == [0, 39, 1]


def test_an_offer_found_twice_counts_once_for_the_source_by_which_it_comes_first() -> None:
    # Ann's turns are 0.83, 2.5, 4.2; popular's 2, 6.
    pool = blend({Source.POPULAR: positions(3, 2), Source.ANN: positions(1, 2, 3)}, 10)
    assert pool.offer.tolist() == [1, 3, 2]
    assert pool.source.tolist() == [Source.ANN, Source.POPULAR, Source.ANN]


def test_nothing_found_is_an_empty_pool() -> None:
    assert len(blend({}, 10)) == 0
    assert blend({Source.NEW: positions()}, 10).offer.dtype == np.int32


def test_shares_are_of_one_whole() -> None:
    assert sum(SHARES.values()) == pytest.approx(1.0)


_found = st.lists(st.integers(0, 60), unique=True, max_size=40).map(lambda p: np.array(p, np.int32))


@given(st.fixed_dictionaries({Source.ANN: _found, Source.POPULAR: _found, Source.NEW: _found}), st.integers(1, 50))
def test_a_pool_is_as_full_as_can_be_and_holds_each_offer_once(found: dict[Source, np.ndarray], most: int) -> None:
    pool = blend(found, most)
    everything = set(np.concatenate(list(found.values())).tolist())
    assert len(pool) == min(most, len(everything))
    assert len(set(pool.offer.tolist())) == len(pool)
    assert all(offer in found[Source(source)] for offer, source in zip(pool.offer, pool.source, strict=True))


ALL_OPEN = np.zeros(6, np.int16)


def retriever(market: Market, index: OfferIndex | None, most: int) -> Retriever:
    return Retriever.of(Catalogue.of(market), index, np.arange(7.0), most)


def test_a_small_catalogue_is_ranked_whole(market: Market) -> None:
    small = retriever(market, axis_index(*"abcdefgh"), 7)
    assert not small.needs_query
    shut = np.full(6, Reason.TARGETING, np.int16)  # eligibility is told of later, with reasons for all
    pool = small.candidates(None, shut, Luck(0))
    assert pool.offer.tolist() == list(range(7))
    assert set(pool.source.tolist()) == {Source.ALL}


def test_a_large_catalogue_is_searched_by_every_source(market: Market) -> None:
    large = retriever(market, axis_index("open-1", "german-1", "rich-1", "capped-1", "summer-1", *"abc"), 6)
    assert large.needs_query
    pool = large.candidates(toward(2, 1, 0), ALL_OPEN, Luck(0))
    by_source = {s: pool.offer[pool.source == s].tolist() for s in Source}
    assert by_source[Source.ANN][:3] == [2, 1, 0]
    assert by_source[Source.POPULAR] == [6]
    assert set(by_source[Source.NEW]) <= {4, 6}  # the index knows the others


def test_without_a_release_the_catalogue_is_sampled(market: Market) -> None:
    cold = retriever(market, None, 3)
    assert not cold.needs_query
    rng = np.random.default_rng(0)
    pools = [cold.candidates(None, ALL_OPEN, Luck.draw(rng)) for _ in range(50)]
    assert {len(p) for p in pools} == {3}
    assert {int(o) for p in pools for o in p.offer} == set(range(7))


def test_without_a_query_the_other_sources_fill_the_pool(market: Market) -> None:
    pool = retriever(market, axis_index(*"abcdefgh"), 6).candidates(None, ALL_OPEN, Luck(0))
    assert len(pool) == 6
    assert Source.ANN not in pool.source


def test_rule_sources_find_offers_that_may_be_shown(market: Market) -> None:
    only_summer = np.full(6, Reason.TARGETING, np.int16)
    only_summer[5] = 0
    pool = retriever(market, axis_index(*"abcdefgh"), 3).candidates(toward(0), only_summer, Luck(0))
    assert pool.offer.tolist() == [5]


@pytest.mark.parametrize("campaign", range(6))
def test_the_most_popular_is_found_however_few_may_be_shown(market: Market, campaign: int) -> None:
    shut_but_one = np.where(np.arange(6) == campaign, 0, np.int16(Reason.BUDGET)).astype(np.int16)
    pool = retriever(market, axis_index(*"abcdefgh"), 1).candidates(None, shut_but_one, Luck(0))
    assert pool.offer.tolist() == [max(np.flatnonzero(Catalogue.of(market).campaign == campaign))]
    assert pool.source.tolist() == [Source.POPULAR]
