"""`offerrank campaign`, as typed, against the process of the campaign API on SQLite and on PostgreSQL."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from known_catalogue import GOLDEN
from postgresql import Postgresql
from typer.testing import CliRunner

from catalogue.address import sqlite_url
from offerrank.cli import app
from offerrank.client import CampaignClient
from offerrank.ports import accepts_connections
from offerrank.stack import embedded_keys
from store.key_records import Role
from store.ports import free_port

PATIENCE_S = 60.0


@pytest.fixture(params=["sqlite", "postgresql"])
def served(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CampaignClient]:
    """A campaign API whose catalogue is the golden market's, and whose operator types."""
    server = Postgresql() if request.param == "postgresql" else None
    url = server.new_database() if server else sqlite_url(tmp_path / "catalogue.sqlite")
    key, port = embedded_keys(tmp_path)[Role.OPERATOR], free_port()
    settings = {"MARKET": str(GOLDEN), "CATALOGUE": url, "KEYS": str(tmp_path / "keys.jsonl"), "PORT": str(port)}
    environment = os.environ | {f"OFFERRANK_{name}": value for name, value in settings.items()}
    with (tmp_path / "campaigns.log").open("wb") as log:
        child = subprocess.Popen([sys.executable, "-m", "offerrank", "campaign-api"], env=environment, stdout=log, stderr=log)
    deadline = time.monotonic() + PATIENCE_S
    while not accepts_connections("127.0.0.1", port):
        assert child.poll() is None, (tmp_path / "campaigns.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    monkeypatch.setenv("OFFERRANK_CAMPAIGN_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OFFERRANK_CAMPAIGN_KEY", key)
    with CampaignClient(f"http://127.0.0.1:{port}", key) as api:
        yield api
    child.terminate()
    assert child.wait(PATIENCE_S) == 0
    if server:
        server.close()


def run(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["campaign", *arguments])
    assert done.exit_code == code, done.output
    return done.output


MISTAKES = {
    "show nobody": "id: there is no such campaign, got 'nobody'",
    "set house bid_micros": "expected name=value",
    "set house bid_micros=-1": "bid_micros: expected a number above 0, got -1",
    "pause": "say which",
    "resume --all": "say which version paused them",
    "bulk nowhere.json": "nowhere.json: cannot be read",
    "list --key or_operator_x": "key: this key is unknown",
    "list --api http://127.0.0.1:1": "does not answer",
}


def edit_together(api: CampaignClient) -> None:
    """At once, each a field of one campaign, whatever its version; and one request by all of them."""
    fields = {"name": "Ours", "frequency_cap": 7, "daily_budget_micros": 9_000_000, "bid_micros": 6_500_000, "ends": "2030-01-01"}
    value = {"id": "once", "advertiser": "acme", "bid_kind": "cpc", "bid_micros": 5}
    before = api.changes(limit=1)[0]["version"]
    with ThreadPoolExecutor(len(fields)) as threads:
        list(threads.map(lambda field: api.campaigns.patch("house", {field[0]: field[1]}, version=None), fields.items()))
        once = list(threads.map(lambda _: api.change("POST", "/v1/campaigns", value, None, "", request_key="once"), fields))
    changed = api.campaigns.get("house").record.model_dump(mode="json")
    assert changed.items() >= (fields | {"ends": "2030-01-01T00:00:00Z"}).items()
    assert once == [once[0]] * len(fields)
    assert api.changes(limit=1)[0]["version"] == before + len(fields) + 1


def test_a_campaign_is_run_by_hand(served: CampaignClient, tmp_path: Path) -> None:
    assert "take it over first" in run("list", code=2)
    assert run("import") == "version 1: 14 changed\n"
    assert len(run("list").splitlines()) == 7
    assert "spring: draft, version 2" in run(
        *("create", "spring", "advertiser=acme", "bid_kind=cpc", "bid_micros=400000", "status=draft", "name=Spring sale")
    )
    assert "spring: live, version 3" in run("set", "spring", "status=live", 'targeting.country=["DE"]', "--why", "it begins")
    assert run("list", "--advertiser", "acme").split() == [
        *("spring", "live", "acme", "0.40", "EUR", "cpc", "no", "budget", "0", "offers", "Spring", "sale")
    ]
    assert "spring: paused" in run("pause", "spring")
    assert "spring: live" in run("resume", "spring")
    assert "if-match: somebody else has changed it" in run("set", "spring", "bid_micros=1", "--version", "3", code=2)
    assert run("pause", "--advertiser", "alpha") == "version 6: 2 changed\n"
    assert run("resume", "--advertiser", "alpha", "--version", "6") == "version 7: 2 changed\n"
    new = {"campaign": "spring", "title": "O", "landing_url": "javascript:x"}
    edits = [
        {"op": "create", "kind": "offer", "id": "o", "value": new},
        {"op": "patch", "kind": "campaign", "id": "nobody", "value": {}},
    ]
    (tmp_path / "edits.jsonl").write_text("".join(json.dumps(e) + "\n" for e in edits))
    refused = run("bulk", str(tmp_path / "edits.jsonl"), code=2)
    assert 'edits[0].landing_url: expected an address that begins with https:// or http://, got "javascript:x"' in refused
    assert "edits[1].id: there is no such campaign" in refused
    new["landing_url"] = "https://acme.example/"
    (tmp_path / "edits.json").write_text(json.dumps({"edits": edits[:1]}))
    assert run("bulk", str(tmp_path / "edits.json")) == "version 8: 1 changed\n"
    assert "spring: ended" in run("archive", "spring")
    assert "bid_micros = 400000" in run("show", "spring")
    assert json.loads(run("show", "spring", "--at", "2", "--json"))["campaign"]["status"] == "draft"
    log = run("log", "spring")
    assert 'status "draft" -> "live", targeting.country null -> ["DE"]' in log
    assert "embedded-operator: 1 changed; it begins" in log
    assert json.loads(run("log", "--version", "6", "--json"))["entries"] == 2
    assert run("list", "--status", "ended", "--text", "SPRING").split()[0] == "spring"
    assert [held.record.id for held in served.offers.list(campaign="spring")] == ["o"]
    for typed, said in MISTAKES.items():
        assert said in run(*typed.split(), code=2)
    edit_together(served)
