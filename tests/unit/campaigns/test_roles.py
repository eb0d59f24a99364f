"""Who may do what: a viewer looks, a manager runs the campaigns of his advertisers, an operator everything."""

from typing import Any

import pytest
from campaign_office import Office, said

MINE = {"id": "mine", "advertiser": "alpha", "bid_kind": "cpc", "bid_micros": 5}
OFFER = {"id": "mine-1", "campaign": "mine", "title": "Mine", "landing_url": "https://alpha.example/"}


@pytest.mark.parametrize(
    ("by", "status"), [(None, 401), ("nobody", 401), ("shop", 403), ("eve", 200), ("max", 200), ("ann", 200)]
)
def test_a_key_of_those_who_run_campaigns_lets_in(office: Office, by: str | None, status: int) -> None:
    assert office.call("GET", "/v1/campaigns", by).status_code == status


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(
            ("POST", "/v1/campaigns"),
            ("PUT", "/v1/campaigns/house"),
            ("PATCH", "/v1/campaigns/house"),
            ("DELETE", "/v1/offers/house-club"),
        ),
        *(("POST", "/v1/campaigns/house/pause"), ("POST", "/v1/pause"), ("POST", "/v1/advertisers/alpha/pause")),
    ],
)
def test_a_viewer_changes_nothing(office: Office, method: str, path: str) -> None:
    body = {"json": MINE} if method in ("PUT", "PATCH") or path == "/v1/campaigns" else {}
    assert said(office.call(method, path, "eve", headers={"if-match": "*"}, **body)) == (403, "key")
    assert office.get("/v1/changes")["items"][0]["version"] == 1


def test_what_is_not_a_managers_is_not_there_for_him(office: Office) -> None:
    theirs = {"alpha-spring", "alpha-rest"}
    assert {one["campaign"]["id"] for one in office.get("/v1/campaigns", "max")["items"]} == theirs
    assert {one["offer"]["campaign"] for one in office.get("/v1/offers", "max")["items"]} == theirs
    assert [one["advertiser"]["id"] for one in office.get("/v1/advertisers", "max")["items"]] == ["alpha"]
    for path in ("/v1/campaigns/house", "/v1/offers/house-club", "/v1/advertisers/beta", "/v1/campaigns/house/changes"):
        assert said(office.call("GET", path, "max")) == (404, "id")
    assert said(office.patch("/v1/campaigns/house", {"bid_micros": 7_000_000}, by="max")) == (404, "id")
    assert said(office.call("POST", "/v1/campaigns/house/pause", "max")) == (404, "id")
    assert said(office.call("POST", "/v1/advertisers/beta/pause", "max")) == (404, "id")
    office.patch("/v1/campaigns/house", {"bid_micros": 7_000_000})
    assert [c["version"] for c in office.get("/v1/changes", "max")["items"]] == [1]
    assert said(office.call("GET", "/v1/changes/2", "max")) == (404, "version")
    assert {c["id"] for c in office.get("/v1/changes/1", "max")["changed"]} < {*theirs, "alpha-shoes", "alpha-hats", "alpha-coat"}


def test_a_manager_makes_nothing_for_others(office: Office) -> None:
    assert said(office.call("POST", "/v1/campaigns", "max", json=MINE | {"advertiser": "beta"})) == (403, "advertiser")
    assert said(office.patch("/v1/campaigns/alpha-rest", {"advertiser": "beta"}, by="max")) == (403, "advertiser")
    assert said(office.call("POST", "/v1/offers", "max", json=OFFER | {"campaign": "house"})) == (403, "campaign")
    assert said(office.patch("/v1/offers/alpha-hats", {"campaign": "house"}, by="max")) == (403, "campaign")
    assert said(office.call("POST", "/v1/advertisers", "max", json={"id": "alpha"})) == (403, "key")
    assert said(office.call("POST", "/v1/pause", "max")) == (403, "key")
    assert office.call("POST", "/v1/campaigns", "max", json=MINE).status_code == 201
    edits = [{"op": "create", "kind": "offer", "value": OFFER}, {"op": "delete", "kind": "campaign", "id": "house"}]
    refused = office.call("POST", "/v1/bulk", "max", json={"edits": edits})
    assert [(e["index"], e["error"]["field"]) for e in refused.json()["errors"]] == [(1, "id")]


def test_what_a_manager_shows_waits_for_an_operator(office: Office) -> None:
    def review(by: str = "max", **value: Any) -> str:
        answered = office.patch("/v1/offers/mine-1", value, by=by)
        assert answered.status_code == 200, answered.text
        return str(answered.json()["offer"]["review"])

    office.call("POST", "/v1/campaigns", "max", json=MINE)
    assert said(office.call("POST", "/v1/offers", "max", json=OFFER | {"review": "approved"})) == (403, "review")
    assert office.call("POST", "/v1/offers", "max", json=OFFER).json()["offer"]["review"] == "pending"
    assert said(office.patch("/v1/offers/mine-1", {"review": "approved"}, by="max")) == (403, "review")
    assert review("ann", review="approved") == "approved"
    assert review(features={"category": "games"}) == "approved"  # which no shopper sees
    assert review(title="Now with scripts") == "pending"
    assert review("ann", review="rejected") == "rejected"
    assert review(features={}) == "rejected"
    assert review(title="Mine") == "pending"
    together = [
        {"op": "create", "kind": "offer", "value": OFFER | {"id": "b-1", "campaign": "b"}},
        {"op": "create", "kind": "campaign", "value": MINE | {"id": "b"}},
    ]
    assert office.call("POST", "/v1/bulk", "max", json={"edits": together}).status_code == 200
    assert office.get("/v1/offers/b-1")["offer"]["review"] == "pending"


def test_whose_key_it_is(office: Office) -> None:
    of = {"market": "golden", "currency": "EUR"}
    assert office.get("/v1/me", "max") == of | {"name": "max", "role": "manager", "advertisers": ["alpha"]}
    assert office.get("/v1/me", "ann") == of | {"name": "ann", "role": "operator", "advertisers": None}
