"""Who may look at the page and act on it: this machine, an operator's key, a proxy's user; and only the page itself may act."""

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from found import HOUR, START, missing
from log_entries import MARKET_TOML

from monitoring.dashboard.app import create_app
from monitoring.dashboard.settings import DashboardSettings
from monitoring.incidents import Habits, IncidentStore, incidents_path, reading
from store.key_records import Role, changing, new_text, record_of

LOCAL = {"Host": "127.0.0.1:8081"}
PAGE = {"Origin": "http://127.0.0.1:8081", "Sec-Fetch-Site": "same-origin"}
ELSEWHERE = {"Host": "ops.example"}
FROM_ELSEWHERE = {"Origin": "https://ops.example", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def incident(tmp_path: Path) -> str:
    store = IncidentStore(incidents_path(tmp_path), Habits(HOUR))
    store.observe(START, [missing()], START + HOUR, 9)
    (found,) = reading.live_incidents(store.connection)
    store.close_file()
    return found.id


class Client:
    """Requests without cookies of their own, straight into an application."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.headers: dict[str, str] = {}

    def _ask(self, method: str, path: str, headers: dict[str, str] | None = None, **said: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://page") as client:
                return await client.request(method, path, headers=self.headers | (headers or {}), **said)

        return asyncio.run(ask())

    def get(self, path: str, **said: Any) -> httpx.Response:
        return self._ask("GET", path, **said)

    def post(self, path: str, **said: Any) -> httpx.Response:
        return self._ask("POST", path, **said)

    def delete(self, path: str, **said: Any) -> httpx.Response:
        return self._ask("DELETE", path, **said)


def page(tmp_path: Path, **settings: Any) -> Client:
    """The application without its reading threads: nobody listens at its Redis."""
    market = tmp_path / "market.toml"
    market.write_text(MARKET_TOML)
    app = create_app(DashboardSettings(market=market, log_dir=tmp_path, redis_url="redis://127.0.0.1:1/0", **settings))
    return Client(app)


def key(tmp_path: Path, role: Role = Role.OPERATOR, name: str = "ann") -> str:
    text = new_text(role)
    with changing(tmp_path / "keys.jsonl") as records:
        records.append(record_of(text, name, role, datetime.now(UTC)))
    return text


def history(tmp_path: Path, incident: str) -> list[tuple[str, str, str]]:
    store = IncidentStore(incidents_path(tmp_path))
    found = [(str(e.change), e.by, e.note) for e in reading.history(store.connection, incident)]
    store.close_file()
    return found


def test_this_machine_looks_and_acts_without_a_log_in(tmp_path: Path, incident: str):
    client = page(tmp_path)
    assert client.get("/", headers=LOCAL).status_code == 200
    listed = client.get("/api/incidents", headers=LOCAL).json()
    assert [one["id"] for one in listed["live"]] == [incident]
    assert listed["watched"]["streams"] == 9
    done = client.post(f"/api/incidents/{incident}/acknowledge", headers=LOCAL | PAGE, json={"note": "looking"})
    assert done.status_code == 200
    assert history(tmp_path, incident)[-1] == ("acknowledged", "this machine", "looking")


def test_another_sites_page_neither_reads_nor_acts(tmp_path: Path, incident: str):
    client = page(tmp_path)
    # A name that its owner points at 127.0.0.1.
    assert client.get("/api/incidents", headers={"Host": "evil.example"}).status_code == 403
    address = f"/api/incidents/{incident}/close"
    for headers in (
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:8081"},
    ):
        assert client.post(address, headers=LOCAL | headers, json={}).status_code == 403, headers
    assert [change for change, *_ in history(tmp_path, incident)] == ["opened"]


def test_elsewhere_one_logs_in_with_an_operators_key(tmp_path: Path, incident: str):
    text = key(tmp_path)
    client = page(tmp_path, host="0.0.0.0", keys=tmp_path / "keys.jsonl")
    client.headers |= ELSEWHERE
    sent = client.get("/predictions")
    assert (sent.status_code, sent.headers["location"]) == (303, "/login?next=/predictions")
    for path in ("/api/incidents", "/api/summary", "/api/decisions", "/api/market", f"/api/incidents/{incident}"):
        assert client.get(path).status_code == 401, path
    assert client.get("/login").status_code == 200
    answer = client.post("/api/session", headers=FROM_ELSEWHERE | {"X-Forwarded-Proto": "https"}, json={"key": text})
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"]
    for flag in ("HttpOnly", "Secure", "SameSite=lax"):
        assert flag in cookie
    client.headers["Cookie"] = cookie.partition(";")[0]
    assert client.get("/api/session").json() == {"name": "ann", "has_session": True}
    assert client.post(f"/api/incidents/{incident}/close", headers=FROM_ELSEWHERE, json={}).status_code == 200
    assert history(tmp_path, incident)[-1][1] == "ann"
    assert client.delete("/api/session", headers=FROM_ELSEWHERE).status_code == 200
    assert client.get("/api/incidents").status_code == 401


def test_the_session_of_a_revoked_key_is_over(tmp_path: Path):
    text = key(tmp_path)
    client = page(tmp_path, host="0.0.0.0", keys=tmp_path / "keys.jsonl")
    client.headers |= ELSEWHERE
    token = client.post("/api/session", headers=FROM_ELSEWHERE, json={"key": text}).headers["set-cookie"].partition(";")[0]
    assert client.get("/api/incidents", headers={"Cookie": token}).status_code == 200
    with changing(tmp_path / "keys.jsonl") as records:
        records.clear()
    assert client.get("/api/incidents", headers={"Cookie": token}).status_code == 401


@pytest.mark.parametrize("role", [Role.PUBLISHER, Role.SERVER])
def test_other_keys_open_nothing(tmp_path: Path, role: Role):
    text = key(tmp_path, role)
    client = page(tmp_path, host="0.0.0.0", keys=tmp_path / "keys.jsonl")
    for said in ({"key": text}, {"key": "x" * 5_000}, {"key": 5}, {}, {"key": ""}):
        assert client.post("/api/session", headers=ELSEWHERE | FROM_ELSEWHERE, json=said).status_code in (400, 401), said


def test_without_a_keys_file_nobody_gets_in_from_elsewhere(tmp_path: Path):
    client = page(tmp_path, host="0.0.0.0")
    client.headers |= ELSEWHERE
    refused = client.post("/api/session", headers=FROM_ELSEWHERE, json={"key": "or_operator_x"})
    assert refused.json() == {"error": "nobody can log in: OFFERRANK_KEYS names no keys file"}
    for path in ("/healthz", "/metrics"):
        assert client.get(path).status_code == 200


def test_behind_a_proxy_its_users_look_and_act_and_see_no_shopper(tmp_path: Path, incident: str):
    client = page(tmp_path, host="0.0.0.0", user_header="X-Forwarded-User")
    client.headers |= ELSEWHERE
    assert client.get("/").status_code == 403
    assert client.get("/login", headers={"X-Forwarded-User": "bob"}).status_code == 303
    client.headers["X-Forwarded-User"] = "bob"
    assert client.get("/").status_code == 200
    assert client.post(f"/api/incidents/{incident}/close", headers=FROM_ELSEWHERE, json={}).status_code == 200
    assert history(tmp_path, incident)[-1][1] == "bob"


def test_wrong_actions_say_what_is_wrong(tmp_path: Path, incident: str):
    client = page(tmp_path)
    client.headers |= LOCAL | PAGE
    for path, said, status, why in (
        ("silence", {}, 400, "until_ms: is missing"),
        ("silence", {"until_ms": 1}, 400, "until_ms: expected a time within the next 30 days, got 1"),
        ("silence", {"until_ms": "soon"}, 400, "until_ms: expected a whole number"),
        ("acknowledge", {"note": "x" * 501}, 400, "note: expected at most 500 characters"),
        ("close", {"reason": "x"}, 400, "reason: there is no such key"),
        ("close", {"note": "x" * 5_000}, 400, "body: expected at most 4096 bytes, got "),
    ):
        answer = client.post(f"/api/incidents/{incident}/{path}", json=said)
        assert answer.status_code == status
        assert answer.json()["error"].startswith(why), answer.json()
    assert client.post("/api/incidents/nobody/close", json={}).status_code == 404
    assert client.get("/api/incidents/nobody").status_code == 404
    assert client.post(f"/api/incidents/{incident}/close", json={}).status_code == 200
    assert client.post(f"/api/incidents/{incident}/close", json={}).json()["error"] == f"incident: {incident} is closed"


def test_where_nothing_is_kept_the_page_says_so_and_the_rest_goes_on(tmp_path: Path):
    empty = page(tmp_path)
    empty.headers |= LOCAL
    assert empty.get("/api/incidents").json() | {"now_ms": 0} == {
        **{
            "now_ms": 0,
            "live": [],
            "more": 0,
            "closed": [],
            "watched": None,
            "opinion_from_ms": None,
            "alerts": [],
            "trouble": None,
        }
    }
    for path in ("/api/features", "/api/features/country", "/api/predictions", "/api/today"):
        assert empty.get(path).json() == {"last_hour_ms": None}
    assert empty.get("/api/incidents/x").status_code == 503
    assert 'offerrank_incidents_open{kind="missing"} NaN' in empty.get("/metrics").text
    incidents_path(tmp_path).write_bytes(b"no database at all, but long enough to look like one" * 50)
    assert "it is no database" in empty.get("/api/incidents").json()["trouble"]
    assert empty.get("/").status_code == 200


def test_prometheus_is_told_of_open_incidents_by_kind(tmp_path: Path, incident: str):
    client = page(tmp_path)
    said = client.get("/metrics").text
    assert 'offerrank_incidents_open{kind="missing"} 1.0' in said
    assert 'offerrank_incidents_open{kind="skew"} 0.0' in said
    assert "offerrank_alerts_waiting_seconds 0.0" in said


def test_documents_may_load_nothing_from_elsewhere(tmp_path: Path):
    client = page(tmp_path)
    for path in ("/", "/incidents/x", "/features", "/features/a/b", "/predictions", "/live"):
        answer = client.get(path, headers=LOCAL)
        assert answer.status_code == 200, path
        assert answer.headers["content-security-policy"].startswith("default-src 'self'"), path
        assert "<!--" not in answer.text, path
    assert client.get("/static/now.js").status_code == 200
    for path in ("/static/..%2fapp.py", "/static/now.html", "/static/nothing.js"):
        assert client.get(path).status_code == 404, path


def test_whatever_says_something_of_the_market_wants_a_log_in(tmp_path: Path):
    client = page(tmp_path, host="0.0.0.0", keys=tmp_path / "keys.jsonl")
    client.headers |= ELSEWHERE
    open_to_all = {"/login", "/plotly.js", "/static/{name}", "/metrics", "/healthz"}
    asked = {path for path, of in client.app.openapi()["paths"].items() if "get" in of} - open_to_all
    assert {"/campaigns", "/api/campaigns/{campaign}", "/releases/{version}/report", "/api/archive/decisions"} <= asked
    for path in asked:
        answer = client.get(re.sub(r"\{.*?\}", "1", path))
        assert answer.status_code == (401 if path.startswith("/api/") else 303), path


def test_a_link_that_was_sent_leads_through_the_log_in_with_all_that_it_asks(tmp_path: Path):
    client = page(tmp_path, host="0.0.0.0", keys=tmp_path / "keys.jsonl")
    client.headers |= ELSEWHERE
    sent = client.get("/decisions?id=d7&offer=green")
    assert sent.headers["location"] == "/login?next=/decisions%3Fid%3Dd7%26offer%3Dgreen"
