"""Campaigns and offers in files: what is written is read back the same, and what is wrong is said with place, field and value."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_catalogue import MARKET
from small_market import RAW

from catalogue.formats import read, write
from catalogue.kinds import Entry
from domain.campaign import Advertiser, Campaign, Offer
from domain.errors import InvalidChange
from features.market import load_market, parse_market

EXAMPLES = sorted((Path(__file__).resolve().parents[3] / "examples").glob("*/market.toml"))
RICH = parse_market(
    RAW
    | {
        "features": [
            {"name": "city", "source": "context", "default": "unknown"},
            {"name": "age", "source": "shopper", "dtype": "int", "default": 0},
            {"name": "brand", "source": "offer", "default": "none"},
            {"name": "price", "source": "offer", "dtype": "float", "default": 0.0},
            {"name": "tags", "source": "offer", "multiple": True, "max_values": 4, "weighted": True, "hash_buckets": 9},
        ]
    }
)


def listed(market: Any) -> list[Entry]:
    return [*market.campaigns, *market.offers]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.parent.name)
@pytest.mark.parametrize("out", ["all.toml", "all.jsonl", "folder"])
def test_the_examples_are_read_from_their_market_files_and_from_what_is_written_of_them(
    path: Path, out: str, tmp_path: Path
) -> None:
    market = load_market(path)
    assert read(path, market) == listed(market)
    assert [e for file in write(tmp_path / out, listed(market), market) for e in read(file, market)] == listed(market)


texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=40)


@settings(max_examples=30, deadline=None)
@given(title=texts, body=texts, brand=texts, price=st.floats(-1e6, 1e6, width=32), city=texts)
def test_any_text_survives_any_form(tmp_path_factory: Any, title: str, body: str, brand: str, price: float, city: str) -> None:
    entries: list[Entry] = [
        Advertiser(id="a", name=title),
        Campaign.model_validate(
            {"id": "c", "advertiser": "a", "bid_kind": "cpc", "bid_micros": 5, "targeting": {"city": [city, "x"], "age": [1, 2]}}
            | {"starts": "2026-12-01T08:00:00+01:00", "daily_budget_micros": 10**9}
        ),
        Offer.model_validate(
            {"id": "o", "campaign": "c", "title": title, "body": body, "landing_url": "https://x.example/?a=1&b={token}"}
            | {"image": {"url": "https://x.example/a,b.png", "alt": title, "width": 300, "height": 250}, "review": "pending"}
            | {"features": {"brand": brand, "price": price, "tags": {"red": 0.5, 'a "quoted" one': 1.0}}}
        ),
    ]
    folder = tmp_path_factory.mktemp("files")
    for out in ("all.toml", "all.jsonl", "folder"):
        assert [e for file in write(folder / out, entries, RICH) for e in read(file, RICH)] == entries, out


RULES = {
    "lists": {"city": ["Rome", "Bari"], "age": [1]},
    "conditions": {"city": {"in": ["Rome"], "not_in": ["Bari"]}, "age": {"min": 18, "max": 65}},
    "joined": {"age": [18, 19], "or": [{"city": ["Rome"]}, {"not": {"age": {"max": 30}, "and": [{"city": {"not_in": ["x"]}}]}}]},
    "what no column could hold": {"city": ["", "a|b"]},
}


@pytest.mark.parametrize("out", ["all.toml", "all.jsonl", "folder"])
def test_every_form_of_targeting_survives_any_form_of_file(out: str, tmp_path: Path) -> None:
    plain = {"advertiser": "a", "bid_kind": "cpc", "bid_micros": 5}
    entries: list[Entry] = [
        Campaign.model_validate(plain | {"id": f"c{i}", "targeting": r}) for i, r in enumerate(RULES.values())
    ]
    assert [e for file in write(tmp_path / out, entries, RICH) for e in read(file, RICH)] == entries


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("o.toml", "[[offers]", "o.toml: is not valid TOML"),
        ("o.toml", '[[campaigns]]\nid = "c"', 'o.toml: campaigns[0 "c"].advertiser: is missing'),
        ("o.toml", "offers = 3", "o.toml: offers: expected a list of tables, got 3"),
        ("o.toml", "offers = [3]", "o.toml: offers[0]: expected a table, got 3"),
        ("o.jsonl", '{"kind": "offer"', "o.jsonl: line 1: is not JSON"),
        ("o.jsonl", '\n{"id": "c"}', "o.jsonl: line 2.kind: expected advertiser, campaign or offer, got nothing"),
        ("o.csv", "id,advertiser,bid_kind,bid_micros\nc,a,cpc,0", "o.csv: line 2.bid_micros: expected a number above 0, got '0'"),
        ("o.csv", "id,advertiser,bid_kind,bid_micros\nc,a,cpc,1,2", "o.csv: line 2: expected 4 columns, got more"),
        ("o.csv", "id,advertiser,colour\nc,a,red", "o.csv: line 2.bid_kind: is missing"),
        (
            "o.csv",
            "id,campaign,title,landing_url,features.tags\no,c,t,https://x,red",
            "o.csv: line 2.features.tags: expected a list or",
        ),
        ("c.csv", "id,bid_kind,targeting\nc,cpc,[1]", "c.csv: line 2.targeting: expected an object as JSON, got '[1]'"),
        ("c.csv", f"id,bid_kind,targeting\nc,cpc,{'[' * 100_000}", "c.csv: line 2.targeting: expected a list or an object"),
        ("c.jsonl", "[" * 100_000, "c.jsonl: line 1: is not JSON"),
        (
            "o.csv",
            "id,campaign,title,landing_url\no,c,t,javascript:x",
            "o.csv: line 2.landing_url: expected an address that begins",
        ),
        ("o.csv", "id,campaign,title,landing_url\no,c,t,https://x\no,c,t,https://y", "o.csv: line 3.id: 'o' is defined twice"),
        ("o.xml", "", "o.xml: expected a file that ends in .toml, .jsonl or .csv"),
    ],
)
def test_what_is_wrong_is_said_with_its_place_its_field_and_its_value(name: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidChange) as refused:
        read(tmp_path / name, RICH)
    assert said in str(refused.value)


def test_files_that_are_not_there_or_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidChange, match="cannot be read: No such file"):
        read(tmp_path / "none.csv", RICH)
    (tmp_path / "latin.csv").write_bytes("id,größe".encode("latin-1"))
    with pytest.raises(InvalidChange, match="is not UTF-8 text"):
        read(tmp_path / "latin.csv", RICH)
    for out, said in (
        ("all.xml", r"expected a file that ends in \.toml or \.jsonl"),
        ("latin.csv/all.toml", "cannot be written"),
    ):
        with pytest.raises(InvalidChange, match=said):
            write(tmp_path / out, [], RICH)


def test_what_a_spreadsheet_of_windows_begins_with_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_bytes(b"\xef\xbb\xbfid,advertiser,bid_kind,bid_micros\r\nc,a,cpc,7\r\n")
    assert read(tmp_path / "c.csv", MARKET) == [Campaign(id="c", advertiser="a", bid_kind="cpc", bid_micros=7)]


@pytest.mark.parametrize("out", ["all.toml", "all.jsonl", "folder"])
def test_who_may_be_shown_when_and_beside_whom_survives_any_form_of_file(out: str, tmp_path: Path) -> None:
    said = {"day_parts": ["mon-fri 08-18", "sat,sun 22-04"], "time_zone": "Asia/Kathmandu", "categories": ["wine", "IAB8-18"]}
    plain = {"id": "c", "advertiser": "a", "bid_kind": "cpc", "bid_micros": 5}
    entries: list[Entry] = [Campaign.model_validate(plain | said | {"tier": "house", "competes_in": "drinks"})]
    assert [e for file in write(tmp_path / out, entries, RICH) for e in read(file, RICH)] == entries
