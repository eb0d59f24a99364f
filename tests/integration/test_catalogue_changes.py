"""A change makes a version, wholly or not at all; every version can be had back; what is wrong is refused where it is written.

On SQLite and on PostgreSQL alike.
"""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from known_catalogue import AT_MS, FILE_ONLY, MARKET, Shelf, campaign, everything, offer
from postgresql import Postgresql
from sqlalchemy import inspect, text

from catalogue.address import parse_url, sqlite_url
from catalogue.database import CatalogueAway
from catalogue.edits import EditsRefused
from catalogue.follower import Follower
from catalogue.repository import Change, Edit, Made, Repository
from catalogue.tables import METADATA
from domain.campaign import Advertiser
from domain.errors import CatalogueConflict, ContractError, InvalidChange


@pytest.fixture(scope="module")
def server() -> Iterator[Postgresql]:
    server = Postgresql()
    yield server
    server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shelf]:
    on_postgresql = request.param == "postgresql"
    url = request.getfixturevalue("server").new_database() if on_postgresql else sqlite_url(tmp_path / "catalogue.sqlite")
    shelf = Shelf(url)
    yield shelf
    shelf.database.close()


@pytest.fixture
def shelf(empty: Shelf) -> Shelf:
    empty.change(*everything())
    return empty


def test_a_database_that_is_not_there_holds_no_catalogue_and_is_not_made_by_looking(empty: Shelf, tmp_path: Path) -> None:
    assert empty.repository.head() is None
    assert list(empty.repository.rows(1)) == []
    assert empty.repository.log() == []
    assert list(tmp_path.iterdir()) == []


def test_an_upgrade_that_fails_half_way_leaves_nothing(empty: Shelf) -> None:
    with empty.database._engine.connect() as db, db.begin():
        db.execute(text("CREATE TABLE other (id INTEGER)"))
        db.execute(text("CREATE INDEX entry_by_parent ON other (id)"))
    with pytest.raises(CatalogueAway, match="entry_by_parent"):  # the last thing that the upgrades make
        empty.change(*everything())
    assert empty.repository.head() is None
    with empty.database._engine.connect() as db:
        assert inspect(db).get_table_names() == ["other"]
        db.execute(text("DROP TABLE other"))
        db.commit()
    assert empty.change(*everything()) == Made(1, 14)


def test_tables_of_a_later_version_are_left_alone(shelf: Shelf) -> None:
    with shelf.database._engine.connect() as db:
        db.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        db.commit()
    with pytest.raises(CatalogueAway, match="its tables are of revision 9999, and this version of OfferRank reads 0002"):
        shelf.repository.head()
    with pytest.raises(CatalogueAway, match="9999"):
        shelf.change(campaign("house", bid_micros=7_000_000))


def test_tables_are_as_the_code_takes_them_to_be(shelf: Shelf) -> None:
    with shelf.database._engine.connect() as db:
        found = compare_metadata(MigrationContext.configure(db), METADATA)
    assert [difference for difference in found if difference[0] != "remove_table"] == []  # Alembic's own


def test_a_server_that_goes_away_and_comes_back_is_followed_again(server: Postgresql) -> None:
    shelf = Shelf(server.new_database())
    shelf.change(*everything())
    follower = Follower(shelf.url, MARKET)
    assert follower.start().version == 1
    server.stop()
    try:
        assert follower.poll() is None
        assert not follower.reads
        with pytest.raises(CatalogueAway):
            shelf.change(campaign("house", bid_micros=7_000_000))
    finally:
        server.start()
    shelf.change(campaign("house", bid_micros=7_000_000))
    assert follower.poll() is not None
    assert (follower.reads, follower.stock.version) == (True, 2)
    follower.close()
    shelf.database.close()


def test_every_change_is_a_version_with_who_when_and_why(empty: Shelf) -> None:
    assert empty.change(*everything(), why="the beginning") == Made(1, 14)
    assert empty.change(campaign("house", bid_micros=7_000_000), by="bob", at_ms=AT_MS + 1) == Made(2, 1)
    assert empty.repository.log() == [Change(2, AT_MS + 1, "bob", "", 1), Change(1, AT_MS, "ann", "the beginning", 14)]
    assert [c.version for c in empty.repository.log(limit=1)] == [2]
    assert [c.version for c in empty.repository.log(before=2)] == [1]


def test_what_is_so_already_is_no_change(shelf: Shelf) -> None:
    assert shelf.change(*everything()) == Made(1, 0)
    assert shelf.change(campaign("house", bid_micros=7_000_000), campaign("alpha-rest")) == Made(2, 1)
    assert shelf.change(Edit("offer", "never-there", None)) == Made(2, 0)


def test_a_version_says_from_what_to_what(shelf: Shelf) -> None:
    shelf.change(campaign("house", bid_micros=7_000_000), offer("new-one"), Edit("offer", "alpha-hats", None))
    told = {(after.kind, after.id): (before and before.body, after.body) for before, after in shelf.repository.changed(2)}
    assert set(told) == {("campaign", "house"), ("offer", "new-one"), ("offer", "alpha-hats")}
    before, after = told["campaign", "house"]
    assert '"bid_micros":6000000' in str(before)
    assert '"bid_micros":7000000' in str(after)
    assert told["offer", "new-one"][0] is None
    assert told["offer", "alpha-hats"][1] is None


def test_an_old_version_is_had_back_exactly(shelf: Shelf) -> None:
    first = shelf.bodies(1)
    shelf.change(campaign("house", bid_micros=7_000_000))
    second = shelf.bodies(2)
    shelf.change(Edit("offer", "alpha-hats", None), Edit("campaign", "alpha-rest", None))
    shelf.change(campaign("alpha-rest"), offer("alpha-hats"))
    assert (shelf.bodies(1), shelf.bodies(2)) == (first, second)
    assert ("offer", "alpha-hats") not in shelf.bodies(3)
    assert shelf.bodies(4) == second


def test_what_changed_since_a_version_is_each_as_it_is_now(shelf: Shelf) -> None:
    shelf.change(campaign("house", bid_micros=7_000_000))
    shelf.change(campaign("house", bid_micros=8_000_000), Edit("offer", "alpha-hats", None))
    since = {(row.kind, row.id): row.body for row in shelf.repository.rows(3, since=1)}
    assert set(since) == {("campaign", "house"), ("offer", "alpha-hats")}
    assert '"bid_micros":8000000' in str(since["campaign", "house"])
    assert since["offer", "alpha-hats"] is None
    assert [row.id for row in shelf.repository.rows(3, since=1, kinds=["offer"])] == ["alpha-hats"]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (campaign("house", targeting={"planet": ["Mars"]}), "campaign \"house\".targeting: 'planet' is not a shopper or context"),
        (campaign("house", targeting={"visits": ["two"]}), "campaign \"house\".targeting.visits: must be a number, got 'two'"),
        (offer("house-club", features={"colour": "red"}), "offer \"house-club\".features: 'colour' is not a feature with source"),
        (offer("house-club", features={"category": 3}), 'offer "house-club".features.category: must be a string, got 3'),
        (offer("house-club", campaign="nobody"), "offer \"house-club\".campaign: expected one of the campaigns, got 'nobody'"),
        (Edit("campaign", "house", None), "campaign \"house\": still has 1 offers, such as 'house-club': take them out as well"),
    ],
)
def test_what_does_not_fit_is_refused_with_field_and_value_and_nothing_is_changed(shelf: Shelf, edit: Edit, said: str) -> None:
    with pytest.raises(InvalidChange) as refused:
        shelf.change(campaign("alpha-rest", bid_micros=1), edit)
    assert str(refused.value).startswith(said)
    assert shelf.repository.head().version == 1
    assert shelf.bodies(2) == shelf.bodies(1)


def test_a_campaign_and_its_offers_come_and_go_together(shelf: Shelf) -> None:
    shelf.change(offer("brand-new", campaign="brand-new"), campaign("brand-new"))
    assert shelf.change(Edit("campaign", "brand-new", None), Edit("offer", "brand-new", None)) == Made(3, 2)


def test_two_who_saw_the_same_version_do_not_overwrite_each_other(shelf: Shelf) -> None:
    shelf.change(campaign("house", bid_micros=7_000_000), expected_version=1)
    with pytest.raises(CatalogueConflict, match="expected version 1, it is 2 by now"):
        shelf.change(campaign("house", bid_micros=8_000_000), expected_version=1)
    seen = Edit("campaign", "house", campaign("house", bid_micros=8_000_000).entry, expected_version=1)
    with pytest.raises(CatalogueConflict, match="campaign 'house': expected version 1, it is 2 by now"):
        shelf.change(seen)
    untouched = Edit("campaign", "alpha-rest", campaign("alpha-rest", bid_micros=1).entry, expected_version=1)
    assert shelf.change(untouched) == Made(3, 1)
    with pytest.raises(CatalogueConflict, match="campaign 'another': expected version 3, it is 0 by now"):
        shelf.change(Edit("campaign", "another", campaign("another").entry, expected_version=3))


def test_a_request_sent_twice_is_one_change(shelf: Shelf) -> None:
    asked = campaign("house", bid_micros=7_000_000)
    assert shelf.change(asked, request_key="r-1") == Made(2, 1)
    shelf.change(campaign("house", bid_micros=9_000_000))
    assert shelf.change(asked, request_key="r-1") == Made(2, 1)
    assert shelf.repository.head().version == 3
    with pytest.raises(CatalogueConflict, match="request key 'r-1': belongs to another change, version 2"):
        shelf.change(campaign("house", bid_micros=1_000_000), request_key="r-1")


def test_writers_at_once_wait_for_each_other_and_lose_nothing(shelf: Shelf) -> None:
    def write(n: int) -> None:
        for i in range(5):
            shelf.change(offer(f"offer-{n}-{i}"))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shelf.repository.head().version == 16
    assert [c.version for c in shelf.repository.log()] == list(range(16, 0, -1))
    assert len(shelf.bodies(16)) == len(shelf.bodies(1)) + 15


def test_the_catalogue_of_another_market_is_refused(shelf: Shelf) -> None:
    other = Repository(shelf.database, MARKET.model_copy(update={"name": "other"}))
    for use in (other.head, lambda: other.change([campaign("house")], "ann", "", AT_MS)):
        with pytest.raises(ContractError, match="expected that of market 'other', got that of 'golden'"):
            use()


def test_an_address_says_what_is_wrong_with_it_and_no_password() -> None:
    assert parse_url("postgres://me:secret@host/shop") == "postgresql+psycopg://me:secret@host/shop"
    for wrong in ("mysql://me:secret@host/shop", "postgres://me:secret@host", "sqlite:///", "catalogue.sqlite"):
        with pytest.raises(ValueError, match="expected sqlite:///PATH or postgresql://USER@HOST/DATABASE") as refused:
            parse_url(wrong)
        assert "secret" not in str(refused.value)


def test_a_database_of_the_first_tables_is_read_as_it_is_and_upgraded_by_whoever_writes(shelf: Shelf) -> None:
    """Made by the code of before: an offer's campaign was a column, an advertiser nowhere but in the campaign's JSON."""
    shelf.change(Edit("offer", "alpha-hats", None), Edit("campaign", "alpha-rest", None))
    with shelf.database._engine.connect() as db, db.begin():
        db.execute(text("DROP INDEX entry_by_parent"))
        db.execute(text("ALTER TABLE entry RENAME COLUMN parent TO campaign"))
        db.execute(text("UPDATE entry SET campaign = NULL WHERE kind = 'campaign' OR body IS NULL"))
        db.execute(text("CREATE INDEX entry_by_campaign ON entry (campaign)"))
        db.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    bodies = shelf.bodies(2)
    follower = Follower(shelf.url, FILE_ONLY)
    assert follower.start().version == 2
    follower.close()

    shelf.database.bring_up_to_date(MARKET.name)
    assert (shelf.bodies(2), shelf.repository.head().version) == (bodies, 2)
    with shelf.database._engine.connect() as db:
        parents = dict(db.execute(text("SELECT kind || ' ' || id, parent FROM entry WHERE until IS NULL")).all())
    assert parents["campaign house"] == "house"
    assert parents["offer house-club"] == "house"
    assert (parents["campaign alpha-rest"], parents["offer alpha-hats"]) == ("alpha", "alpha-rest")  # gone, and whose it was
    with pytest.raises(InvalidChange, match="still has 1 offers, such as 'house-club'"):
        shelf.change(Edit("campaign", "house", None))


def test_a_campaign_that_was_shown_pays_for_conversions_or_for_something_else_ever_after(shelf: Shelf) -> None:
    shelf.change(campaign("alpha-spring", bid_kind="cpm"))  # the price of either is held
    with pytest.raises(InvalidChange, match=r'campaign "alpha-spring"\.bid_kind: expected cpm, as it was sold: make another'):
        shelf.change(campaign("alpha-spring", bid_kind="cpa"))
    with pytest.raises(InvalidChange, match=r'campaign "gamma-sales"\.bid_kind: expected cpa'):
        shelf.change(campaign("gamma-sales", bid_kind="cpc", status="draft"))
    shelf.change(campaign("idea", status="draft"))
    shelf.change(campaign("idea", bid_kind="cpa"))


def test_all_that_is_wrong_is_said_by_the_index_of_the_edit(shelf: Shelf) -> None:
    stale = Edit("campaign", "house", campaign("house", bid_micros=7_000_000).entry, expected_version=7)
    with pytest.raises(EditsRefused) as refused:
        shelf.repository.change_all(
            [stale, offer("new"), offer("lost", campaign="nobody"), Edit("campaign", "gamma-sales", None)], "ann", "", AT_MS
        )
    assert [(i, type(e)) for i, e in refused.value.errors] == [(0, CatalogueConflict), (2, InvalidChange), (3, InvalidChange)]
    assert shelf.repository.head().version == 1


def test_an_advertiser_goes_with_its_campaigns_or_after_them(shelf: Shelf) -> None:
    assert shelf.change(Edit("advertiser", "house", Advertiser(id="house"))) == Made(2, 1)
    with pytest.raises(InvalidChange, match="advertiser \"house\": still has 1 campaigns, such as 'house'"):
        shelf.change(Edit("advertiser", "house", None))
    gone = [Edit("advertiser", "house", None), Edit("campaign", "house", None), Edit("offer", "house-club", None)]
    assert shelf.change(*gone) == Made(3, 3)
