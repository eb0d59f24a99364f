"""Looking at entries and changing one: conditions, what is refused and how, and what another person's change does."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from campaign_office import Office, said
from known_catalogue import MARKET

from catalogue.kinds import RECORDS
from serving.campaigns.settings import CampaignSettings

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "campaign-api.md"
SPRING = {"id": "spring", "advertiser": "acme", "bid_kind": "cpc", "bid_micros": 400_000}
PICTURE = {"url": "https://x.example/a.png", "alt": "A hat", "width": 300, "height": 250}
HAT = {"id": "a hat/1", "campaign": "spring", "title": "Hat", "landing_url": "https://acme.example/hat"}


def test_a_campaign_and_an_offer_are_made_looked_at_changed_and_taken_out(office: Office) -> None:
    made = office.call("POST", "/v1/campaigns", json=SPRING, params={"why": "the season"})
    assert (made.status_code, made.headers["etag"], made.headers["location"]) == (201, '"2"', "/v1/campaigns/spring")
    assert made.json()["campaign"] == office.get("/v1/campaigns/spring")["campaign"]
    assert made.json()["campaign"].items() >= (SPRING | {"status": "live", "targeting": {}, "ends": None}).items()
    assert {k: v for k, v in made.json().items() if k != "campaign"} == {
        **{"version": 2, "state": "live", "offers": 0, "changed": {"at": "2027-01-15T08:00:00.000Z", "by": "ann"}}
    }
    assert office.call("POST", "/v1/offers", json=HAT).headers["location"] == "/v1/offers/a%20hat%2F1"
    assert office.get("/v1/offers/a%20hat%2F1")["offer"]["title"] == "Hat"
    changed = office.patch("/v1/offers/a%20hat%2F1", {"title": "Cap", "body": "Warm."}, 3)
    assert (changed.status_code, changed.json()["offer"]["title"], changed.headers["etag"]) == (200, "Cap", '"4"')
    assert office.patch("/v1/offers/a%20hat%2F1", {"body": None}, 4).json()["offer"]["body"] == ""
    put = office.call("PUT", "/v1/campaigns/spring", json=SPRING | {"bid_micros": 1}, headers={"if-match": '"2"'})
    assert (put.status_code, put.json()["campaign"]["bid_micros"], put.json()["offers"]) == (200, 1, 1)
    assert office.get("/v1/campaigns/spring", at_version=2)["campaign"]["bid_micros"] == 400_000

    alone = office.call("DELETE", "/v1/campaigns/spring", headers={"if-match": "*"})
    assert said(alone) == (422, "campaign")
    assert "still has 1 offers" in alone.text
    assert office.call("DELETE", "/v1/campaigns/spring?whole=true", headers={"if-match": '"6"'}).json() == {
        "version": 7,
        "entries": 2,
    }
    assert said(office.call("GET", "/v1/campaigns/spring")) == (404, "id")
    assert office.get("/v1/campaigns/spring", at_version=6)["campaign"]["bid_micros"] == 1


def test_a_change_says_which_version_it_is_of(office: Office) -> None:
    assert said(office.call("PATCH", "/v1/campaigns/house", json={})) == (428, "if-match")
    assert said(office.call("DELETE", "/v1/campaigns/house")) == (428, "if-match")
    assert said(office.patch("/v1/campaigns/house", {}, "yesterday")) == (422, "if-match")
    assert said(office.call("POST", "/v1/campaigns", json=SPRING | {"id": "house"})) == (409, "id")
    assert office.patch("/v1/campaigns/house", {"name": "Ours"}, '"1"').status_code == 200
    assert said(office.patch("/v1/campaigns/nobody", {"name": "?"})) == (404, "id")
    made = office.call("PUT", "/v1/advertisers/alpha", json={"name": "Alpha"}, headers={"if-match": '"0"'})
    assert (made.status_code, made.json()["advertiser"], made.json()["campaigns"]) == (201, {"id": "alpha", "name": "Alpha"}, 2)


def test_of_two_who_edit_one_campaign_the_second_is_told_and_overwrites_nothing(office: Office) -> None:
    seen = office.get("/v1/campaigns/house")
    assert office.patch("/v1/campaigns/house", {"bid_micros": 7_000_000}, seen["version"], by="ann").status_code == 200
    late = office.patch("/v1/campaigns/house", {"frequency_cap": 3}, seen["version"], by="bob")
    assert (said(late), late.headers["etag"]) == ((412, "if-match"), '"2"')
    assert office.patch("/v1/campaigns/house", {"frequency_cap": 3}, late.headers["etag"], by="bob").status_code == 200
    both = office.get("/v1/campaigns/house")["campaign"]
    assert (both["bid_micros"], both["frequency_cap"]) == (7_000_000, 3)


def test_a_lost_answer_is_had_again_by_the_same_key(office: Office) -> None:
    key = {"idempotency-key": "k-1"}
    first = office.patch("/v1/campaigns/house", {"bid_micros": 7_000_000}, 1, **key)
    office.patch("/v1/campaigns/house", {"bid_micros": 9_000_000}, 2, by="bob")
    again = office.patch("/v1/campaigns/house", {"bid_micros": 7_000_000}, 1, **key)
    assert (again.status_code, again.json()["campaign"], again.headers["etag"]) == (200, first.json()["campaign"], '"2"')
    assert office.get("/v1/campaigns/house")["campaign"]["bid_micros"] == 9_000_000
    assert said(office.patch("/v1/campaigns/house", {"bid_micros": 8_000_000}, 1, **key)) == (409, "idempotency-key")
    assert office.patch("/v1/campaigns/house", {"bid_micros": 8_000_000}, 3, by="bob", **key).status_code == 200  # his own key
    made = office.call("POST", "/v1/campaigns", json=SPRING, headers=key | {"idempotency-key": "k-2"})
    assert office.call("POST", "/v1/campaigns", json=SPRING, headers={"idempotency-key": "k-2"}).json() == made.json()
    assert said(office.patch("/v1/campaigns/house", {}, 1, **{"idempotency-key": "a b"})) == (422, "idempotency-key")


@pytest.mark.parametrize(
    ("table", "value", "fields"),
    [
        ("campaigns", {"bid_micros": 0, "starts": 2027, "colour": "red"}, ["bid_micros", "starts", "colour"]),
        ("campaigns", {"starts": "2027-02-01", "ends": "2027-01-01"}, ["ends"]),
        ("campaigns", {"targeting": {"planet": ["Mars"]}}, ["targeting"]),
        ("campaigns", {"id": "other"}, ["id"]),
        ("campaigns", [1], ["body"]),
        ("offers", {"landing_url": "javascript:alert(1)"}, ["landing_url"]),
        ("offers", {"landing_url": "data:text/html,x", "title": ""}, ["title", "landing_url"]),
        (
            "offers",
            {"image": {"url": "http://x.example/a.png", "alt": "", "width": 1, "height": 9000}},
            ["image.url", "image.alt", "image.height"],
        ),
        ("offers", {"image": PICTURE | {"url": "data:image/png;base64,x"}}, ["image.url"]),
        ("offers", {"video": {"url": "https://x.example/\u0000", "width": 1, "height": 1}}, ["video.url"]),
        ("offers", {"html": "x" * 20_001}, ["html"]),
        ("offers", {"campaign": "nobody"}, ["campaign"]),
        ("offers", {"features": {"colour": "red"}}, ["features"]),
    ],
)
def test_all_that_is_wrong_is_said_field_by_field(office: Office, table: str, value: Any, fields: list[str]) -> None:
    refused = office.patch(f"/v1/{table}/{'house' if table == 'campaigns' else 'house-club'}", value)
    assert refused.status_code == 422
    assert [e["error"]["field"] for e in refused.json()["errors"]] == fields
    assert refused.json()["error"] == refused.json()["errors"][0]["error"]
    assert office.get("/v1/changes")["items"][0]["version"] == 1


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (400, {"content": b"{"}),
        (400, {"content": b'{"targeting": ' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001}),
        (400, {"content": b'{"title": "\xff"}'}),
        (400, {"content": b'{"targeting": ' + b"[" * 40 + b"]" * 40 + b"}"}),
        (413, {"content": b'{"body": "' + b"x" * (10 << 20) + b'"}'}),
        (415, {"content": b"{}", "headers": {"content-type": "text/plain"}}),
        (200, {"content": b'{"title": "a\\u0000b"}'}),
    ],
)
def test_hostile_bodies_are_refused_and_odd_text_is_text(office: Office, status: int, request_: dict[str, Any]) -> None:
    headers = {"if-match": "*", "content-type": "application/json"} | request_.pop("headers", {})
    answered = office.call("PATCH", "/v1/offers/house-club", headers=headers, **request_)
    assert answered.status_code == status, answered.text
    assert len(answered.content) < 2_000


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/campaigns?limit=0", "limit"),
        ("/v1/campaigns?limit=many", "limit"),
        ("/v1/campaigns?cursor=%00", "cursor"),
        ("/v1/campaigns?cursor=AA", "cursor"),
        ("/v1/campaigns?statu=live", "statu"),
        ("/v1/campaigns?status=gone", "status"),
        ("/v1/campaigns?text=%00", "text"),
        ("/v1/offers?advertiser=alpha", "advertiser"),
        ("/v1/campaigns/house?at_version=-1", "at_version"),
        ("/v1/campaigns/house?at_version=2", "at_version"),
        ("/v1/campaigns?at_version=2", "at_version"),
        ("/v1/changes?before=x", "before"),
    ],
)
def test_a_parameter_that_is_wrong_is_named(office: Office, path: str, field: str) -> None:
    assert said(office.call("GET", path)) == (422, field)


@pytest.mark.parametrize("path", ["/v1/campaigns/a%00b", "/v1/campaigns/..%2f", "/v1/offers/%00", "/v1/changes/x", "/v1/nothing"])
def test_what_no_id_can_be_is_not_there(office: Office, path: str) -> None:
    assert office.call("GET", path).status_code == 404


def test_an_update_of_what_is_already_so_changes_nothing(office: Office) -> None:
    same = office.patch("/v1/campaigns/house", {"bid_micros": 6_000_000}, 1)
    assert (same.status_code, same.headers["etag"]) == (200, '"1"')
    assert office.get("/v1/campaigns")["catalogue"] == 1


def test_what_the_market_file_lists_is_taken_over_before_anything_is_changed(fresh: Office) -> None:
    for method, path in (("GET", "/v1/campaigns"), ("GET", "/v1/campaigns/house"), ("POST", "/v1/campaigns")):
        assert said(fresh.call(method, path, json=SPRING)) == (409, "catalogue")
    assert said(fresh.call("POST", "/v1/import", by="max")) == (403, "key")
    assert fresh.call("POST", "/v1/import").json() == {"version": 1, "entries": 14}
    assert said(fresh.call("POST", "/v1/import")) == (409, "catalogue")
    assert len(fresh.get("/v1/campaigns")["items"]) == len(MARKET.campaigns)


def test_the_document_holds_the_records_as_they_are_with_examples_that_are_taken(office: Office) -> None:
    document = office.get("/openapi.json")
    assert document["openapi"].startswith("3.1")
    for kind, record in RECORDS.items():
        schema = document["components"]["schemas"][record.__name__]
        assert schema["properties"].keys() == record.model_fields.keys()
        (example,) = schema["examples"]
        assert office.call("POST", f"/v1/{kind}s", json=example).status_code == 201
    references = re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document))
    assert {*references} <= document["components"]["schemas"].keys()
    described = {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert ("/v1/campaigns/{entry_id}/pause", "post") in described
    assert office.call("GET", "/docs", None).status_code == 200


def test_every_setting_is_described_as_the_code_has_it() -> None:
    rows = [line.strip("| ").split(" | ") for line in DOCUMENT.read_text().splitlines() if line.startswith("| `OFFERRANK_")]
    described = {row[0].strip("`"): (row[1].strip("`"), row[2]) for row in rows}
    assert described == {
        f"OFFERRANK_{name.upper()}": ("required" if field.is_required() else str(field.default), field.description)
        for name, field in CampaignSettings.model_fields.items()
    }
