"""Pausing and resuming: one campaign, an advertiser's, all of them; and many edits at once."""

from campaign_office import Office, said
from known_catalogue import MARKET, campaign

from catalogue.database import CatalogueAway

NEW = {"id": "o", "campaign": "c", "title": "O", "landing_url": "https://o.example/"}
LIVE = sorted(c.id for c in MARKET.campaigns)


def states(office: Office) -> dict[str, str]:
    return {one["campaign"]["id"]: one["campaign"]["status"] for one in office.get("/v1/campaigns")["items"]}


def test_a_campaign_is_paused_and_resumed_whoever_else_changes_it(office: Office) -> None:
    assert office.call("POST", "/v1/campaigns/house/pause", params={"why": "out of stock"}).json()["state"] == "paused"
    assert office.call("POST", "/v1/campaigns/house/pause").json()["version"] == 2
    assert office.call("POST", "/v1/campaigns/house/resume").json()["state"] == "live"
    office.patch("/v1/campaigns/house", {"status": "draft"})
    assert said(office.call("POST", "/v1/campaigns/house/resume")) == (409, "status")
    assert said(office.call("POST", "/v1/campaigns/house/pause")) == (409, "status")
    assert office.get("/v1/changes")["items"][2]["why"] == "out of stock"


def test_all_of_an_advertiser_or_of_the_market_are_paused_at_once_and_only_those_come_back(office: Office) -> None:
    office.call("POST", "/v1/campaigns/alpha-rest/pause")  # for a reason of its own
    paused = office.call("POST", "/v1/advertisers/alpha/pause", "max")
    assert paused.json() == {"version": 3, "entries": 1}
    assert {c for c, status in states(office).items() if status == "paused"} == {"alpha-spring", "alpha-rest"}
    assert office.call("POST", "/v1/pause").json() == {"version": 4, "entries": len(LIVE) - 2}
    assert set(states(office).values()) == {"paused"}
    assert said(office.call("POST", "/v1/resume")) == (422, "version")
    assert office.call("POST", "/v1/resume?version=4").json() == {"version": 5, "entries": len(LIVE) - 2}
    assert office.call("POST", "/v1/advertisers/alpha/resume?version=3", "max").json() == {"version": 6, "entries": 1}
    assert {c for c, status in states(office).items() if status == "paused"} == {"alpha-rest"}
    assert office.call("POST", "/v1/resume?version=4").json() == {"version": 6, "entries": 0}
    assert said(office.call("POST", "/v1/advertisers/nobody/pause")) == (404, "id")


def test_many_edits_are_one_change(office: Office) -> None:
    edits = [
        {
            "op": "create",
            "kind": "offer",
            "value": {"id": "o", "campaign": "c", "title": "O", "landing_url": "https://o.example/"},
        },
        {"op": "create", "kind": "campaign", "value": {"id": "c", "advertiser": "a", "bid_kind": "cpc", "bid_micros": 5}},
        {"op": "patch", "kind": "campaign", "id": "house", "version": 1, "value": {"bid_micros": 7_000_000}},
        {"op": "delete", "kind": "offer", "id": "alpha-hats"},
    ]
    key = {"idempotency-key": "all"}
    assert office.call("POST", "/v1/bulk", json={"edits": edits}, headers=key).json() == {"version": 2, "entries": 4}
    assert office.call("POST", "/v1/bulk", json={"edits": edits}, headers=key).json() == {"version": 2, "entries": 4}
    assert office.get("/v1/campaigns")["catalogue"] == 2


def test_every_error_of_a_bulk_is_told_by_index_and_nothing_is_done(office: Office) -> None:
    good = {"op": "patch", "kind": "campaign", "id": "gamma-sales", "value": {"name": "Fine"}}

    def errors(*edits: object) -> list[tuple[int, int, str]]:
        refused = office.call("POST", "/v1/bulk", json={"edits": [*edits, good]})
        assert refused.status_code >= 400
        return [(e["index"], refused.status_code, e["error"]["field"]) for e in refused.json()["errors"]]

    form = (
        {"op": "drop", "kind": "campaign"},
        {"op": "patch", "kind": "campaign", "id": "house"},
        7,
        {"op": "delete", "kind": "offer"},
    )
    assert [(i, field) for i, _, field in errors(*form)] == [(0, "op"), (1, "value"), (2, "body"), (3, "id")]
    fields = (
        {"op": "patch", "kind": "campaign", "id": "house", "value": {"bid_micros": -1, "colour": 1}},
        good | {"id": "nobody"},
        {"op": "patch", "kind": "campaign", "id": "alpha-rest", "version": 9, "value": {}},
        {"op": "create", "kind": "campaign", "value": {"id": "house"}},
    )
    found = errors(*fields)
    assert [(i, field) for i, _, field in found] == [(0, "bid_micros"), (0, "colour"), (1, "id"), (2, "if-match"), (3, "id")]
    references = (
        {"op": "delete", "kind": "campaign", "id": "house"},
        {"op": "patch", "kind": "offer", "id": "alpha-hats", "value": {"campaign": "nobody"}},
        {"op": "patch", "kind": "offer", "id": "alpha-hats", "value": {}},
    )
    assert [(i, field) for i, _, field in errors(*references)] == [(2, "edits")]
    assert [(i, field) for i, _, field in errors(*references[:2])] == [(0, "campaign"), (1, "campaign")]
    assert said(office.call("POST", "/v1/bulk", json={"edits": []})) == (422, "edits")
    assert said(office.call("POST", "/v1/bulk", json=[])) == (422, "edits")
    assert office.get("/v1/campaigns")["catalogue"] == 1


def test_ten_thousand_edits_are_one_change(office: Office) -> None:
    new = {"campaign": "house", "title": "One of many", "landing_url": "https://house.example/"}
    edits = [{"op": "create", "kind": "offer", "value": new | {"id": f"o-{i}"}} for i in range(10_000)]
    assert office.call("POST", "/v1/bulk", json={"edits": edits}).json() == {"version": 2, "entries": 10_000}
    assert office.get("/v1/campaigns/house")["offers"] == 10_001
    assert said(office.call("POST", "/v1/bulk", json={"edits": [*edits, edits[0]]})) == (422, "edits")


def test_without_the_database_callers_are_asked_to_come_again(office: Office) -> None:
    class Away:
        def connect(self) -> object:
            raise CatalogueAway("no route to host")

        def dispose(self) -> None:
            pass

    office.shelf.database._engine = Away()  # type: ignore[assignment]
    for method, path in (
        ("GET", "/v1/campaigns"),
        ("POST", "/v1/campaigns/house/pause"),
        ("GET", "/readyz"),
        ("GET", "/v1/changes"),
    ):
        answered = office.call(method, path)
        assert (said(answered), answered.headers["retry-after"]) == ((503, "catalogue"), "2")
    assert office.call("GET", "/healthz").status_code == 200


def test_who_pauses_while_another_edits_pauses_nevertheless(office: Office) -> None:
    for bid in (1_000_000, 2_000_000):
        office.shelf.change(campaign("house", bid_micros=bid))
        assert office.call("POST", "/v1/campaigns/house/pause").json()["state"] == "paused"
        office.shelf.change(campaign("house", bid_micros=bid))
