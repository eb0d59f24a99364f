"""Whichever way a process comes to a version, it sells the same; without the database it goes on with what it has."""

import logging
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from known_catalogue import FILE_ONLY, GOLDEN, MARKET, Shelf, campaign, everything, offer

from catalogue.current_market import current_market
from catalogue.follower import Follower
from catalogue.repository import Edit, Repository
from catalogue.stock import Stock
from domain.campaign import Advertiser, Review
from domain.errors import InvalidMarket, Unavailable
from features.offer_table import OfferTable
from serving.gateway.market_view import MarketView


def view_of(stock: Stock) -> MarketView:
    return MarketView.of(stock.market, stock.version)


def assert_same(one: MarketView, other: MarketView) -> None:
    assert one.version == other.version
    assert one.market.campaigns == other.market.campaigns
    assert list(one.offers) == list(other.offers)
    assert one.offers.position_of == other.offers.position_of
    for name in ("offer_ids", "campaign", "advertiser", "bid_kind", "bid_micros", "budget_micros", "starts_ms", "ends_ms"):
        assert np.array_equal(getattr(one.catalogue, name), getattr(other.catalogue, name)), name
    for mine, theirs in ((one.columns.columns, other.columns.columns), (one.offer_slices, other.offer_slices)):
        assert mine.keys() == theirs.keys()
        assert all(np.array_equal(mine[name], theirs[name]) for name in mine)
    for position in range(len(one.offers)):
        assert one.shown(position) == other.shown(position)


CHANGES = (
    [campaign("house", bid_micros=7_000_000)],
    [
        offer("aaa-first", campaign="house"),
        offer("zzz-last", features={"category": "games"}),
        offer("gamma-trip", title="Two weeks"),
    ],
    [Edit("offer", "alpha-hats", None), Edit("campaign", "alpha-rest", None), offer("aaa-first", campaign="alpha-spring")],
    [campaign("house", targeting={"country": ["DE"]}), offer("house-club", features={})],
    [*(Edit("offer", o.id, None) for o in MARKET.offers if o.id != "alpha-hats"), Edit("offer", "zzz-last", None)],
    [campaign("alpha-rest"), offer("alpha-hats"), offer("middle")],
)


def test_following_changes_leads_to_what_a_start_at_the_same_version_has(shelf: Shelf, tmp_path: Path) -> None:
    follower = Follower(shelf.url, FILE_ONLY, tmp_path / "kept")
    followed = view_of(follower.start())
    assert_same(followed, view_of(Follower(shelf.url, FILE_ONLY).start()))
    for edits in CHANGES:
        shelf.change(*edits)
        stock = follower.poll()
        assert stock is not None
        assert stock.splice is not None
        assert stock.since == followed.version
        followed = followed.after(stock.market, stock.version, stock.splice)
        assert_same(followed, view_of(Follower(shelf.url, FILE_ONLY).start()))
        assert_same(followed, view_of(Follower(shelf.url, FILE_ONLY, tmp_path / "kept").start()))
    assert follower.poll() is None


def test_a_change_of_campaigns_alone_leaves_what_is_known_of_offers(shelf: Shelf) -> None:
    follower = Follower(shelf.url, FILE_ONLY)
    before = view_of(follower.start())
    shelf.change(campaign("house", bid_micros=7_000_000))
    stock = follower.poll()
    assert stock is not None
    assert stock.splice is not None
    after = before.after(stock.market, stock.version, stock.splice)
    assert after.columns is before.columns
    assert after.offers is before.offers


def test_several_changes_between_two_looks_are_one(shelf: Shelf) -> None:
    follower = Follower(shelf.url, FILE_ONLY)
    follower.start()
    for bid in range(1_000_000, 2_000_000, 100_000):
        shelf.change(campaign("house", bid_micros=bid))
    stock = follower.poll()
    assert stock is not None
    assert (stock.version, stock.market.campaign_by_id["house"].bid_micros) == (11, 1_900_000)


def test_campaigns_alone_are_followed_where_offers_are_not_wanted(shelf: Shelf, tmp_path: Path) -> None:
    follower = Follower(shelf.url, FILE_ONLY, tmp_path, offers=False)
    stock = follower.start()
    assert (len(stock.market.campaigns), len(stock.market.offers)) == (7, 0)
    shelf.change(offer("new"), campaign("house", bid_micros=7_000_000))
    changed = follower.poll()
    assert changed is not None
    assert (changed.market.campaign_by_id["house"].bid_micros, len(changed.market.offers)) == (7_000_000, 0)


def test_the_market_file_is_sold_until_there_is_a_catalogue(empty: Shelf) -> None:
    follower = Follower(empty.url, MARKET)
    assert [o.id for o in follower.start().market.offers] == [o.id for o in MARKET.offers]
    assert follower.poll() is None
    empty.change(campaign("house"), offer("house-club"))
    stock = follower.poll()
    assert stock is not None
    assert (stock.version, [o.id for o in stock.market.offers]) == (1, ["house-club"])


@pytest.fixture
def away(shelf: Shelf, tmp_path: Path) -> tuple[Follower, Path]:
    """A follower whose database has just gone, and where it went."""
    follower = Follower(shelf.url, FILE_ONLY, tmp_path / "kept")
    follower.start()
    shelf.change(campaign("house", bid_micros=7_000_000), offer("new"))
    follower.poll()
    shelf.database.close()
    path, hidden = tmp_path / "catalogue.sqlite", tmp_path / "hidden"
    hidden.mkdir()
    for part in tmp_path.glob("catalogue.sqlite*"):
        part.rename(hidden / part.name)
    path.mkdir()  # no file can be opened there
    return follower, hidden


def bring_back(shelf: Shelf, hidden: Path) -> None:
    path = hidden.parent / "catalogue.sqlite"
    path.rmdir()
    for part in hidden.iterdir():
        part.rename(path.parent / part.name)


def test_without_the_database_the_last_catalogue_is_sold_which_is_said_once(
    shelf: Shelf, away: tuple[Follower, Path], caplog: pytest.LogCaptureFixture
) -> None:
    follower, hidden = away
    follower._repository = None  # as after its connections broke
    for _ in range(3):
        assert follower.poll() is None
        assert not follower.reads
    assert len([r for r in caplog.records if "is still sold" in r.message]) == 1
    bring_back(shelf, hidden)
    assert follower.poll() is None
    assert follower.reads
    assert "followed again" in caplog.text
    shelf.change(campaign("house", bid_micros=8_000_000))
    stock = follower.poll()
    assert stock is not None
    assert stock.version == 3


def test_a_start_without_the_database_sells_the_last_catalogue_of_this_machine(
    shelf: Shelf, away: tuple[Follower, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    follower, hidden = away
    again = Follower(shelf.url, FILE_ONLY, tmp_path / "kept")
    assert_same(view_of(again.start()), view_of(follower.stock))
    assert "catalogue 2 of this machine's disk is sold, the database is away" in caplog.text
    assert not again.reads
    bring_back(shelf, hidden)
    assert again.poll() is None
    assert again.reads


def test_a_start_without_the_database_and_without_a_snapshot_is_none(shelf: Shelf, away: tuple[Follower, Path]) -> None:
    with pytest.raises(Unavailable, match="catalogue: "):
        Follower(shelf.url, MARKET).start()


def test_damaged_snapshots_are_passed_over_and_said(shelf: Shelf, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = tmp_path / "kept"
    Follower(shelf.url, FILE_ONLY, kept).start()
    (whole,) = kept.rglob("all-*.parquet")
    whole.write_bytes(whole.read_bytes()[:-20])
    assert Follower(shelf.url, FILE_ONLY, kept).start().version == 1
    assert "is no snapshot of a catalogue" in caplog.text


def test_a_disk_that_takes_no_snapshot_stops_nothing(shelf: Shelf, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "kept").write_text("no folder can be made here")
    follower = Follower(shelf.url, FILE_ONLY, tmp_path / "kept")
    assert follower.start().version == 1
    for bid in (7_000_000, 8_000_000):
        shelf.change(campaign("house", bid_micros=bid))
        assert follower.poll() is not None
    assert len([r for r in caplog.records if "is not kept in" in r.message]) == 1


def test_another_database_in_its_place_is_taken_whole(shelf: Shelf, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    follower = Follower(shelf.url, FILE_ONLY, tmp_path / "kept")
    follower.start()
    other = Shelf(f"sqlite:///{tmp_path / 'other.sqlite'}")
    other.change(campaign("house"), offer("house-club"))
    other.change(campaign("house", bid_micros=9_000_000))
    for one in (shelf, other):
        one.database.close()
    for part in tmp_path.glob("catalogue.sqlite*"):
        part.unlink()
    shutil.move(tmp_path / "other.sqlite", tmp_path / "catalogue.sqlite")
    follower._repository = None
    stock = follower.poll()
    assert stock is not None
    assert (stock.version, stock.splice, len(stock.market.offers)) == (2, None, 1)
    assert "another catalogue" in caplog.text


def test_what_no_longer_fits_the_market_file_is_refused_by_name(shelf: Shelf) -> None:
    fewer = FILE_ONLY.model_copy(update={"features": tuple(f for f in FILE_ONLY.features if f.name != "country")})
    with pytest.raises(InvalidMarket, match="'country' is not a shopper or context feature") as refused:
        Follower(shelf.url, fewer).start()
    assert 'campaign "delta-play"' in str(refused.value)


def test_a_change_that_does_not_fit_this_process_market_file_leaves_it_with_the_last(
    shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    shelf.change(campaign("delta-play", targeting={}))
    fewer = FILE_ONLY.model_copy(update={"features": tuple(f for f in FILE_ONLY.features if f.name != "country")})
    follower = Follower(shelf.url, fewer)
    follower.start()
    shelf.change(campaign("house", targeting={"country": ["DE"]}))
    assert follower.poll() is None
    assert not follower.reads
    assert "campaign \"house\".targeting: 'country'" in caplog.text
    shelf.change(campaign("house", bid_micros=7_000_000))
    stock = follower.poll()
    assert stock is not None
    assert stock.version == 4


def test_a_whole_catalogue_that_does_not_fit_is_not_taken_up_either(empty: Shelf, caplog: pytest.LogCaptureFixture) -> None:
    follower = Follower(empty.url, MARKET)
    before = follower.start()
    numbers = [f.model_copy(update={"dtype": "int", "vocabulary": None, "default": 0}) for f in MARKET.offer_features]
    other = MARKET.model_copy(update={"features": (*MARKET.request_features, *numbers)})
    other.__dict__.pop("offer_features", None)
    edits = [campaign("house"), offer("house-club", features={"category": 3})]
    Repository(empty.database, other).change(edits, "ann", "", 0)
    assert follower.poll() is None
    assert follower.stock is before
    assert 'offer "house-club".features.category: must be a string, got 3' in caplog.text


def test_an_offer_looked_at_is_what_it_was_made_from() -> None:
    table = OfferTable.of(MARKET.offers)
    assert list(table) == list(MARKET.offers)
    assert (table[2], table[-1]) == (MARKET.offers[2], MARKET.offers[-1])
    assert table[1:3] == list(MARKET.offers[1:3])
    assert len(everything()) == len(table) + len(MARKET.campaigns)


def test_who_only_looks_sees_in_the_same_market_what_is_sold_by_then(empty: Shelf) -> None:
    told = list[int]()
    with current_market(GOLDEN, empty.url, lambda sold: told.append(len(sold.offers))) as market:
        assert ([o.id for o in market.offers], told) == ([o.id for o in MARKET.offers], [7])
        empty.change(campaign("house"), offer("house-club"))
        deadline = time.monotonic() + 60
        while len(told) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert ([o.id for o in market.offers], list(market.campaign_by_id), told) == (["house-club"], ["house"], [7, 1])


def test_who_only_looks_starts_also_while_the_database_is_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "catalogue.sqlite").mkdir()
    with current_market(GOLDEN, f"sqlite:///{tmp_path / 'catalogue.sqlite'}") as market:
        assert len(market.offers) == len(MARKET.offers)
    assert "the catalogue is not shown before its database is back" in caplog.text
    with current_market(GOLDEN, None) as market:
        assert market.offers == MARKET.offers


def test_an_offer_is_sold_while_an_operator_has_approved_it(shelf: Shelf, tmp_path: Path) -> None:
    follower = Follower(shelf.url, FILE_ONLY, tmp_path / "kept")
    before = view_of(follower.start())
    for review, sold in (("pending", False), ("rejected", False), ("approved", True)):
        shelf.change(offer("gamma-trip", review=review))
        stock = follower.poll()
        assert stock is not None
        assert stock.splice is not None
        before = before.after(stock.market, stock.version, stock.splice)
        assert ("gamma-trip" in before.offers.position_of) is sold
        assert_same(before, view_of(Follower(shelf.url, FILE_ONLY).start()))
        assert_same(before, view_of(Follower(shelf.url, FILE_ONLY, tmp_path / "kept").start()))
    file = MARKET.selling(MARKET.campaigns, [o.model_copy(update={"review": Review.PENDING}) for o in MARKET.offers[:1]])
    assert len(MarketView.of(file).offers) == 0


def test_advertisers_are_followed_with_what_they_sell(shelf: Shelf, tmp_path: Path) -> None:
    follower = Follower(shelf.url, FILE_ONLY, tmp_path / "kept", offers=False)
    assert follower.start().market.advertisers == ()
    alpha = Advertiser(id="alpha", name="Alpha & Co.")
    shelf.change(Edit("advertiser", "alpha", alpha), Edit("advertiser", "zeta", Advertiser(id="zeta")))
    shelf.change(Edit("advertiser", "zeta", None))
    stock = follower.poll()
    assert stock is not None
    assert stock.market.advertiser_by_id == {"alpha": alpha}
    for start in (Follower(shelf.url, FILE_ONLY, tmp_path / "kept", offers=False), Follower(shelf.url, FILE_ONLY)):
        assert start.start().market.advertisers == (alpha,)


def test_what_is_written_goes_into_the_database_that_is_there_not_into_a_replaced_one(shelf: Shelf, tmp_path: Path) -> None:
    backup, path = tmp_path / "backup.sqlite", tmp_path / "catalogue.sqlite"
    shelf.database.close()
    shutil.copy(path, backup)
    shelf.change(campaign("house", bid_micros=7_000_000))
    for part in tmp_path.glob("catalogue.sqlite-*"):
        part.unlink()
    backup.replace(path)
    assert shelf.change(campaign("house", bid_micros=8_000_000)).version == 2
    assert Follower(shelf.url, FILE_ONLY).start().market.campaign_by_id["house"].bid_micros == 8_000_000
