"""Pages of entries and of changes, while others change them."""

from typing import Any

from campaign_office import Office
from known_catalogue import MARKET, campaign, offer

from catalogue.edits import Edit


def walk(office: Office, path: str, by: str = "ann", **params: Any) -> list[dict[str, Any]]:
    """All items, page by page."""
    found, cursor = [], None
    while True:
        page = office.get(path, by, **params, **({"cursor": cursor} if cursor else {}))
        found += page["items"]
        cursor = page["next"]
        if cursor is None:
            return found


def ids(items: list[dict[str, Any]], kind: str = "campaign") -> list[str]:
    return [one[kind]["id"] for one in items]


def test_pages_hold_everything_once_in_the_order_of_ids(office: Office) -> None:
    everything = sorted(c.id for c in MARKET.campaigns)
    for limit in (1, 2, 7, 500):
        assert ids(walk(office, "/v1/campaigns", limit=limit)) == everything
    assert [one["offers"] for one in walk(office, "/v1/campaigns")] == [
        sum(o.campaign == c for o in MARKET.offers) for c in everything
    ]


def test_who_is_between_two_pages_misses_nothing_and_sees_nothing_twice(office: Office) -> None:
    first = office.get("/v1/campaigns", limit=2)
    office.shelf.change(campaign("aaa"), campaign("zzz"), Edit("offer", "alpha-hats", None), Edit("campaign", "alpha-rest", None))
    rest = office.get("/v1/campaigns", cursor=first["next"])
    assert ids(rest["items"]) == sorted({c.id for c in MARKET.campaigns} - {*ids(first["items"])} | {"zzz"})
    assert ids(walk(office, "/v1/campaigns", at_version=1, limit=3)) == sorted(c.id for c in MARKET.campaigns)


def test_filters_leave_what_they_say(office: Office) -> None:
    office.shelf.change(
        campaign("a-draft", status="draft", name="Straße im Frühling"),
        campaign("b-soon", starts="2027-06-01", ends=None, advertiser="beta"),
        campaign("c-over", ends="2026-12-01", starts=None),
        offer("d-hat", campaign="a-draft", body="ÄRMEL", review="pending"),
    )
    assert ids(walk(office, "/v1/campaigns", status="draft")) == ["a-draft"]
    assert ids(walk(office, "/v1/campaigns", status="scheduled")) == ["b-soon"]
    assert {"c-over"} <= {*ids(walk(office, "/v1/campaigns", status="ended,paused"))}
    assert ids(walk(office, "/v1/campaigns", text="STRASSE")) == ["a-draft"]
    assert ids(walk(office, "/v1/campaigns", text="hou", limit=1)) == ["house"]
    assert ids(walk(office, "/v1/offers", campaign="a-draft"), "offer") == ["d-hat"]
    assert ids(walk(office, "/v1/offers", review="pending", text="ärmel"), "offer") == ["d-hat"]
    named = sorted({c.id for c in MARKET.campaigns if c.advertiser == "beta"} | {"b-soon"})
    assert ids(walk(office, "/v1/campaigns", advertiser="beta")) == named


def test_advertisers_are_those_with_a_record_and_those_that_campaigns_name(office: Office) -> None:
    office.call("POST", "/v1/advertisers", json={"id": "new", "name": "New Ltd."})
    listed = walk(office, "/v1/advertisers", limit=2)
    assert ids(listed, "advertiser") == sorted({c.advertiser for c in MARKET.campaigns} | {"new"})
    by_id = {one["advertiser"]["id"]: one for one in listed}
    assert (by_id["new"]["version"], by_id["new"]["campaigns"]) == (2, 0)
    assert (by_id["alpha"]["version"], by_id["alpha"]["campaigns"], by_id["alpha"]["changed"]) == (0, 2, None)
    assert office.get("/v1/advertisers/alpha") == by_id["alpha"]
    assert ids(walk(office, "/v1/advertisers", text="ltd"), "advertiser") == ["new"]


def test_changes_say_who_when_why_and_from_what_to_what(office: Office) -> None:
    office.patch("/v1/campaigns/house", {"bid_micros": 7_000_000, "targeting": {"country": ["DE"]}}, by="bob")
    office.call("PATCH", "/v1/campaigns/house?why=Easter", json={"name": "Ours"}, headers={"if-match": "*"})
    office.call("DELETE", "/v1/offers/house-club", headers={"if-match": "*"})
    newest, named, bid, first = office.get("/v1/changes")["items"]
    assert named["changed"][0]["fields"] == [{"field": "name", "from": "", "to": "Ours"}]
    assert (newest["changed"][0]["what"], named["why"], named["by"], bid["by"], first["entries"]) == (
        *("removed", "Easter", "ann", "bob", 14),
    )
    assert bid["changed"] == [
        {
            **{"kind": "campaign", "id": "house", "what": "changed"},
            "fields": [
                {"field": "bid_micros", "from": 6_000_000, "to": 7_000_000},
                {"field": "targeting.country", "from": None, "to": ["DE"]},
            ],
        }
    ]
    of_house = office.get("/v1/campaigns/house/changes", limit=1)
    assert (of_house["items"], of_house["next"]) == ([named], 3)
    assert [c["version"] for c in office.get("/v1/campaigns/house/changes", before=3)["items"]] == [2, 1]
    assert len(office.get("/v1/changes/1")["changed"]) == 14
    office.shelf.change(*(offer(f"o-{i}") for i in range(30)))
    assert office.get("/v1/changes", limit=1)["items"][0]["changed"] is None
    assert len(office.get("/v1/changes/5")["changed"]) == 30
